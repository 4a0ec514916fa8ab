"""Each pixel's code of its true class's score: all that calibration reads of an image."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.cpu_labels import patterns_of
from conformal_plugin.grid import ScoreGrid
from conformal_plugin.inputs import LabelledScores, check_codes, class_indices, true_scores

__all__ = ["RecentReadings", "TrueCodes", "as_tensor", "read_true_codes"]

# Few enough that all that is known of a block's pixels stays in a core's cache, and that torch
# reads them in the calling thread.
_BLOCK_PIXELS = 32768

_LARGEST_SMALL = 255


@dataclass(frozen=True, eq=False)
class TrueCodes:
    """What is read of an image's pixels, or of separate points; of one kind, torch or NumPy.

    Attributes:
        codes: integers ``(pixels,)``; the grid's size where a pixel is ignored.
        patterns: the grid's integer patterns of the same scores; any where a pixel is ignored.
        classes: true classes ``(pixels,)``, integers; K where a pixel is ignored.
        pixels: int64 ``(K,)``, pixels by true class.
        points: whether the pixels are separate points.
    """

    codes: Any
    patterns: Any
    classes: Any
    pixels: np.ndarray[Any, Any]
    points: bool


class RecentReadings:
    """What was read of all images, as long as that is little: a second look then costs no reading.

    Attributes:
        readings: what has been added, in order.
        complete: whether that is all there was.
    """

    def __init__(self, most_bytes: int = 2**26) -> None:
        self.readings: list[TrueCodes] = []
        self.complete = True
        self._left = most_bytes

    def add(self, true: TrueCodes) -> None:
        """Keep a reading, or let go of all of them when they become too many."""
        self._left -= sum(as_tensor(a).nbytes for a in (true.patterns, true.classes))
        self.complete = self.complete and self._left >= 0
        if self.complete:
            self.readings.append(replace(true, codes=None))
        else:
            self.readings.clear()


def as_tensor(array: Any) -> Tensor:
    """NumPy's integers as torch's, without a copy; a tensor as it is."""
    if isinstance(array, Tensor):
        return array
    # torch has no unsigned integers of several bytes before 2.3; patterns leave the sign bit clear.
    return torch.from_numpy(array if array.itemsize == 1 else array.view(f"i{array.itemsize}"))


def read_true_codes(item: LabelledScores, ignore_index: int, grid: ScoreGrid) -> TrueCodes:
    """Read the true classes' scores and nothing else.

    Raises:
        LabelError: a label that is neither a class nor ``ignore_index``.
        ScoreError: NaN, or a score outside [0, 1], among those that are not ignored.
    """
    num_classes = item.scores.shape[0]
    if item.scores.device.type == "cpu" and num_classes < _LARGEST_SMALL:
        small = _small_labels(item.labels, ignore_index, num_classes)
        found = None if small is None else _on_cpu(item, *small, grid)
        if found is not None:
            return found
    # On other devices, with many classes or unusual labels, and to name what is wrong.
    indices = class_indices(item, ignore_index)
    used = indices < num_classes
    raw = true_scores(item, indices)
    codes = grid.codes(raw)
    check_codes(codes, raw, used, grid)
    classes = indices.flatten()
    pixels = torch.bincount(classes, minlength=num_classes + 1)[:num_classes]
    return TrueCodes(
        codes=torch.where(used, codes, grid.size).flatten(),
        patterns=grid.patterns(raw).flatten(),
        classes=classes,
        pixels=pixels.cpu().numpy(),
        points=item.points,
    )


def _small_labels(
    labels: Tensor, ignore_index: int, num_classes: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    """Labels as uint8 with K in place of the ignore index, and pixels by true class.

    None where a label is neither a class nor ignored.
    """
    given = labels.numpy()
    if given.dtype == np.uint8:
        small = given
    else:
        low, high = int(given.min()), int(given.max())
        # -1, the other usual ignore index, becomes 255 unless that is there too.
        if low < -1 or high > _LARGEST_SMALL - (low < 0):
            return None
        if low < 0 and ignore_index != -1:
            return None
        small = given.astype(np.uint8)
        if low < 0:
            ignore_index = _LARGEST_SMALL
    counts = torch.bincount(torch.from_numpy(small.ravel()), minlength=_LARGEST_SMALL + 1)
    known = torch.zeros(len(counts), dtype=torch.bool)
    known[:num_classes] = True
    if 0 <= ignore_index <= _LARGEST_SMALL:
        known[ignore_index] = True
    if bool(counts[~known].any()):
        return None
    # All that is no class is ignored: as K, the lowest number that is none.
    return np.minimum(small, np.uint8(num_classes)), counts[:num_classes].numpy()


def _on_cpu(
    item: LabelledScores,
    labels: np.ndarray[Any, Any],
    pixels: np.ndarray[Any, Any],
    grid: ScoreGrid,
) -> TrueCodes | None:
    """None where a score that is not ignored has no code, or is -0.0."""
    num_classes = item.scores.shape[0]
    scores = item.scores if item.scores.ndim == 3 else item.scores.unsqueeze(1)
    _, height, width = scores.shape
    classes = labels.reshape(height, width)
    source = torch.from_numpy(patterns_of(scores).view(_signed(scores)))
    patterns = np.empty(classes.shape, dtype=f"u{scores.element_size()}")
    codes = np.empty(classes.shape, dtype=np.int32)
    rows = max(1, _BLOCK_PIXELS // width)
    for top in range(0, height, rows):
        for left in range(0, width, _BLOCK_PIXELS):
            area = (slice(top, top + rows), slice(left, left + _BLOCK_PIXELS))
            ignored = classes[area] == num_classes
            some = bool(ignored.any())
            index = np.minimum(classes[area], np.uint8(num_classes - 1)).astype(np.int64)
            block = source[:, area[0], area[1]]
            raw = block.gather(0, torch.from_numpy(index[None]))[0]
            found = raw.numpy().view(patterns.dtype)
            if some:
                np.copyto(found, 0, where=ignored)
            if int(found.max()) > grid.top:
                return None
            patterns[area] = found
            grid.write_codes(found, codes[area])
            if some:
                np.copyto(codes[area], grid.size, where=ignored)
    return TrueCodes(codes.ravel(), patterns.ravel(), classes.ravel(), pixels, item.points)


def _signed(scores: Tensor) -> str:
    size = scores.element_size()
    return "u1" if size == 1 else f"i{size}"
