"""The labels of single images, to be shown in a report."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from conformal_plugin.calibration import Calibration
from conformal_plugin.files import read_photo
from conformal_plugin.labelling import cap_of, label_maps, least_scores
from conformal_plugin.reporting import photo_picture
from conformal_plugin.scores import (
    LabelledParts,
    LabelledScores,
    ScoreParts,
    grid_of,
    labelled_images,
)

__all__ = ["Painter"]

_Layers = dict[str, np.ndarray[Any, Any]]


class Painter:
    """Makes the label maps of an image.

    Args:
        calibration: by which labels are kept.
        rule: how they are picked.
        background: the background class.
        follow_exif: whether photos are turned as their EXIF says.
    """

    def __init__(
        self, calibration: Calibration, rule: str, background: int, *, follow_exif: bool
    ) -> None:
        self.calibration = calibration
        self._rule = rule
        self._background = background
        self._follow_exif = follow_exif

    def layers(self, given: Any, truth: Any = None) -> _Layers:
        """True, where they are known, raw and kept labels of an image, by what they are called.

        Args:
            given: the scores, or a map that is read part by part; of a volume the middle slice is
                shown.
            truth: true classes.
        """
        (item,) = labelled_images(given, _nowhere(given) if truth is None else truth)
        top, below = 0, len(item.labels)
        if item.depth is not None:
            height = below // item.depth
            top = item.depth // 2 * height
            below = top + height
        if cap_of(self.calibration) is None:
            made = [self._made(rows) for rows in _rows(item, top, below)]
        else:  # which pixels keep their label depends on all others
            whole = item.whole() if isinstance(item, LabelledParts) else item
            made = [tuple(layer[top:below] for layer in self._made(whole.scores))]
        raw, kept = map(np.concatenate, zip(*made))
        known = {} if truth is None else {"truth": np.asarray(item.labels)[top:below]}
        return {**known, "raw": raw, "kept": kept}

    def photo(self, path: Path) -> dict[str, str]:
        """A photo as a picture under its name."""
        return {"photo": photo_picture(read_photo(path, follow_exif=self._follow_exif))}

    def _made(self, scores: Tensor) -> tuple[np.ndarray[Any, Any], ...]:
        """The raw and the kept labels of scores ``(K, H, W)``."""
        grid, classes = grid_of(scores), scores.shape[0]
        ignore, cap = self.calibration.ignore_index, cap_of(self.calibration)
        options: dict[str, Any] = {"background": self._background, "ignore_index": ignore}
        everything: list[float | int | None] = [0] * classes
        least = least_scores(self.calibration, grid, classes)
        batch = scores.unsqueeze(0)
        kept = label_maps(batch, least, rule=self._rule, **options, cap=cap)
        raw = label_maps(batch, everything, rule="most-probable", **options)
        return raw[0].numpy(), kept[0].numpy()


def _nowhere(given: Any) -> np.ndarray[Any, Any]:
    """True classes of the size of the scores, for where none are known and none are asked for."""
    whole = isinstance(given, ScoreParts) or len(given.shape) == 3
    shape = given.shape[1:] if whole else (given.shape[0], *given.shape[2:])
    return np.zeros(shape, np.uint8)


def _rows(item: LabelledScores, top: int, below: int) -> Iterator[Tensor]:
    """The scores of some rows of an image, part by part."""
    start = 0
    for part in item.parts():
        some = part.scores[:, max(0, top - start) : max(0, below - start)]
        if some.shape[1]:
            yield some
        start += part.scores.shape[1]
        if start >= below:
            return
