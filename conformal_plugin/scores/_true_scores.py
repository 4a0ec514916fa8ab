"""The scores of the pixels' true classes: all that calibration reads of an image."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.scores._arrays import as_tensor, in_cpu_memory
from conformal_plugin.scores._grid import ScoreGrid
from conformal_plugin.scores._inputs import (
    LabelledParts,
    LabelledScores,
    check_patterns,
    class_indices,
    true_scores,
)
from conformal_plugin.scores._patterns import patterns_of
from conformal_plugin.scores.compiled import loops_for

__all__ = ["RecentReadings", "TrueScores", "read_true_scores"]

# What is known of a part's pixels takes little memory beside maps of many classes, and threads that
# read different images seldom wait for Python's lock.
_PART_PIXELS = 2**16

_LARGEST_SMALL = 255


@dataclass(frozen=True, eq=False)
class TrueScores:
    """What is read of an image's pixels, or of separate points; of one kind, torch or NumPy.

    Attributes:
        patterns: the grid's integer patterns of the true classes' scores, ``(pixels,)``; the grid's
            ``beyond`` where a pixel is ignored.
        classes: true classes ``(pixels,)``, integers; K where a pixel is ignored.
        pixels: int64 ``(K,)``, pixels by true class.
        points: whether the pixels are separate points.
        group: the group that they belong to; None without groups.
        name: the image's id; None without ids, and of points.
    """

    patterns: Any
    classes: Any
    pixels: np.ndarray[Any, Any]
    points: bool
    group: str | None = None
    name: str | None = None


class RecentReadings:
    """What was read of all images, as long as that is little: a second look then costs no reading.

    Attributes:
        readings: what has been added, in order.
        complete: whether that is all there was.
    """

    def __init__(self, most_bytes: int = 2**26) -> None:
        self.readings: list[TrueScores] = []
        self.complete = True
        self._left = most_bytes

    def add(self, true: TrueScores) -> None:
        """Keep a reading, or let go of all of them when they become too many."""
        self._left -= sum(as_tensor(a).nbytes for a in (true.patterns, true.classes))
        self.complete = self.complete and self._left >= 0
        if self.complete:
            self.readings.append(true)
        else:
            self.readings.clear()


def read_true_scores(item: LabelledScores, ignore_index: int, grid: ScoreGrid) -> TrueScores:
    """Read the true classes' scores and nothing else.

    Raises:
        LabelError: a label that is neither a class nor ``ignore_index``.
        ScoreError: NaN, or a score outside [0, 1], among those that are not ignored.
    """
    if isinstance(item, LabelledParts):
        parts = [read_true_scores(part, ignore_index, grid) for part in item.parts()]
        return _joined(parts, item)
    num_classes = item.scores.shape[0]
    if in_cpu_memory(item.scores) and num_classes < _LARGEST_SMALL:
        loops = loops_for("reading", item.scores.numel())
        if loops is not None:
            read = loops.read_true_scores(
                patterns_of(item.scores), item.labels.numpy(), ignore_index, grid
            )
            if read is not None:
                patterns, classes, pixels = read
                return TrueScores(patterns, classes, pixels, item.points, item.group, item.name)
        small = _small_labels(item.labels, ignore_index, num_classes)
        found = None if small is None else _on_cpu(item, *small, grid)
        if found is not None:
            return found
    # On other devices, with many classes or unusual labels, and to name what is wrong.
    indices = class_indices(item, ignore_index)
    used = indices < num_classes
    raw = true_scores(item, indices)
    patterns = grid.patterns(raw)
    check_patterns(patterns, raw, used, grid)
    classes = indices.flatten()
    pixels = torch.bincount(classes, minlength=num_classes + 1)[:num_classes]
    patterns = patterns.masked_fill(~used, grid.beyond).flatten()
    return TrueScores(patterns, classes, pixels.cpu().numpy(), item.points, item.group, item.name)


def _joined(parts: Sequence[TrueScores], item: LabelledParts) -> TrueScores:
    """What was read of the parts of one image."""
    pixels = np.sum([part.pixels for part in parts], axis=0)
    patterns, classes = (
        _concatenated([getattr(part, name) for part in parts]) for name in ("patterns", "classes")
    )
    return TrueScores(patterns, classes, pixels, False, item.group, item.name)


def _concatenated(columns: Sequence[Any]) -> Any:
    if all(isinstance(column, np.ndarray) for column in columns):
        return np.concatenate(columns)
    # Odd labels in some part have that part read by torch.
    return torch.cat([as_tensor(column).long() for column in columns])


def _small_labels(
    labels: Tensor, ignore_index: int, num_classes: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None:
    """Labels as contiguous uint8 with K in place of the ignore index, and pixels by true class.

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
    counts = torch.bincount(torch.from_numpy(small.ravel()), minlength=_LARGEST_SMALL + 1).numpy()
    pixels = counts[:num_classes]
    ignored = counts[ignore_index] if 0 <= ignore_index <= _LARGEST_SMALL else 0
    if pixels.sum() + ignored < small.size:
        return None
    # All that is no class is ignored: as K, the lowest number that is none. NumPy compares with
    # an array many times faster than with a number.
    highest = np.full(small.shape, num_classes, dtype=np.uint8)
    return np.minimum(small, highest, out=highest), pixels


def _on_cpu(
    item: LabelledScores,
    classes: np.ndarray[Any, Any],
    pixels: np.ndarray[Any, Any],
    grid: ScoreGrid,
) -> TrueScores | None:
    """None where a score that is not ignored is no score, or is -0.0."""
    num_classes = item.scores.shape[0]
    maps = item.scores.reshape(num_classes, -1)
    classes = classes.ravel()
    # All that they reach in memory, as one dimension: along it NumPy's `take` needs two thirds of
    # the time of torch's `gather`.
    by_class, by_pixel = maps.stride()
    reach = 1 + (num_classes - 1) * by_class + (len(classes) - 1) * by_pixel
    line = patterns_of(maps.as_strided((reach,), (1,)))
    some_ignored = int(pixels.sum()) < len(classes)
    parts = []
    for start in range(0, len(classes), _PART_PIXELS):
        true = classes[start : start + _PART_PIXELS]
        place = true.astype(np.intp)
        place *= by_class
        place += _multiples(by_pixel)[: len(true)]
        # Those of ignored pixels may lie beyond the end.
        found = line[start * by_pixel :].take(place, mode="clip")
        if grid.is_integer:  # such maps have no pattern left for "ignored" in their own bytes
            found = found.astype(np.uint32)
        ignored = true == num_classes
        highest = int(found.max())
        if some_ignored and highest > grid.top:  # an ignored pixel may hold anything
            found *= ~ignored
            highest = int(found.max())
        if highest > grid.top:
            return None
        if some_ignored:
            np.maximum(found, ignored * found.dtype.type(grid.beyond), out=found)
        parts.append(found)
    patterns = parts[0] if len(parts) == 1 else np.concatenate(parts)
    return TrueScores(patterns, classes, pixels, item.points, item.group, item.name)


@functools.lru_cache(maxsize=4)
def _multiples(step: int) -> np.ndarray[Any, Any]:
    """0, ``step``, twice ``step`` and so on for a part's pixels; kept, as maps are alike."""
    multiples = np.arange(_PART_PIXELS, dtype=np.intp) * step
    multiples.flags.writeable = False
    return multiples
