"""What labels look like beside the most probable class and the truth, and what that gives away."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

import numpy as np
import torch

from conformal_plugin.calibration import Calibration
from conformal_plugin.errors import UninformativeThresholdError
from conformal_plugin.labelling import classes_far_off, filter as labels_of, unfiltered_labels
from conformal_plugin.processes import in_parallel
from conformal_plugin.scores import (
    LabelledParts,
    LabelledScores,
    ScoreParts,
    as_image,
    as_tensor,
    elsewhere,
    to_tensor,
)

__all__ = ["ENOUGH", "LabelSigns", "counts_of_labels", "signs_of"]

ENOUGH = 100
"""Images that are enough to see what labels look like."""

_NOTHING, _MUCH = 1e-3, 1e-2

Counts = TypeVar("Counts")

_Array = np.ndarray[Any, Any]


class LabelSigns:
    """Counts label maps beside the scores that they were made of.

    Args:
        background: the class that is no object; None where no class is one.
        ignore_index: the label of dropped pixels.
    """

    def __init__(self, background: int | None, ignore_index: int) -> None:
        self._background = background
        self._ignore_index = ignore_index
        self._pixels = self._changed = self._into_objects = self._into_objects_right = 0
        self._labels: dict[int, int] = {}
        self._truth_known = False

    def add(self, scores: Any, labels: Any, truth: Any = None) -> None:
        """Count one image.

        Args:
            scores: ``(K, H, W)``, or one volume ``(1, K, D, H, W)``; or what reads one image or
                volume part by part.
            labels: ``(H, W)`` or ``(D, H, W)``, made of them.
            truth: true classes of as many pixels in the same order; those with the ignore index are
                left out. None where they are not known.
        """
        given = np.asarray(as_tensor(labels).cpu())
        if isinstance(scores, ScoreParts):
            known = None if truth is None else as_tensor(truth).reshape(given.shape)
            for rows, part in scores.placed():
                self.add(part, given[rows], None if known is None else known[rows])
            return
        best = _most_probable(scores).reshape(given.shape)
        valid = np.ones(given.shape, dtype=bool)
        if truth is not None:
            true = np.asarray(as_tensor(truth).cpu()).reshape(given.shape)
            valid = true != self._ignore_index
            self._truth_known = True
        self._pixels += int(valid.sum())
        self._changed += int((valid & (given != best)).sum())
        values, counts = np.unique(given[valid], return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist()):
            self._labels[value] = self._labels.get(value, 0) + count
        if self._background is not None:
            objects = (given != self._ignore_index) & (given != self._background)
            into = valid & (best == self._background) & objects
            self._into_objects += int(into.sum())
            if truth is not None:
                self._into_objects_right += int((into & (given == true)).sum())

    def __bool__(self) -> bool:
        """Whether a pixel was counted."""
        return self._pixels > 0

    def merge(self, other: LabelSigns) -> None:
        """Add what ``other`` has counted."""
        for name in ("_pixels", "_changed", "_into_objects", "_into_objects_right"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self._truth_known |= other._truth_known
        for value, count in other._labels.items():
            self._labels[value] = self._labels.get(value, 0) + count

    def remarks(self, true: _Array | None, background: int | None) -> list[str]:
        """What a user should know, a sentence or two each; nothing where all is as it should be.

        Args:
            true: int64 ``(K,)``, pixels of the labelled images by true class; None where unknown.
            background: the class that the rule takes for background; None where it takes none.
        """
        if not self._pixels:
            return []
        found = [self._unchanged(), self._background_into_objects()]
        if true is not None and true.sum():
            found += [_no_background(true, background), self._shares(true)]
        return [remark for remark in found if remark]

    def _unchanged(self) -> str:
        share = self._changed / self._pixels
        if share >= _NOTHING:
            return ""
        return (
            f"The threshold changes nothing: {100 * (1 - share):.2f} % of the pixels keep the most "
            f"probable class, as without a filter."
        )

    def _background_into_objects(self) -> str:
        if self._into_objects < max(_MUCH * self._pixels, 0.5 * self._changed):
            return ""
        right = ""
        if self._truth_known:
            right = (
                f"; {100 * self._into_objects_right / self._into_objects:.0f} % of these are right"
            )
        return (
            f"What the threshold changes is mostly background into object: "
            f"{100 * self._into_objects / self._pixels:.1f} % of the pixels are called an object "
            f"though background is more probable{right}."
        )

    def _shares(self, true: _Array) -> str:
        kept = {c: n for c, n in self._labels.items() if c != self._ignore_index}
        total = sum(kept.values())
        if not total:
            return ""
        should = (true / true.sum()).tolist()
        mine = [kept.get(c, 0) / total for c in range(len(should))]
        told = [
            f"class {c} {100 * mine[c]:.1f} % instead of {100 * should[c]:.1f} %"
            for c in classes_far_off(mine, should)
        ]
        if not told:
            return ""
        shown = ", ".join(told[:6]) + (", ..." if len(told) > 6 else "")
        return (
            f"Classes have another share of the kept labels than of the labelled images, more than "
            f"three times as much or as little: {shown}."
        )


def signs_of(images: Iterable[LabelledScores], calibration: Calibration) -> LabelSigns:
    """The labels that a calibration gives the first images, beside their truth."""

    def counted(*of_image: Any) -> LabelSigns:
        signs = LabelSigns(calibration.background, calibration.ignore_index)
        signs.add(*of_image)
        return signs

    total = LabelSigns(calibration.background, calibration.ignore_index)
    for signs in counts_of_labels(images, calibration, counted):
        total.merge(signs)
    return total


def counts_of_labels(
    images: Iterable[LabelledScores],
    calibration: Calibration,
    count: Callable[[Any, Any, Any], Counts],
) -> Iterator[Counts]:
    """What ``count`` makes of scores, labels by a calibration, and truth of each first image.

    Args:
        images: to be gone through once.
        calibration: what labels them; where it says nothing, all pixels are dropped.
        count: called in several threads at once.
    """

    def labelled(item: LabelledScores) -> Counts:
        scores = item.source if isinstance(item, LabelledParts) else item.scores
        try:
            labels = labels_of(scores, calibration, ignore_index=calibration.ignore_index)
        except UninformativeThresholdError:
            labels = torch.full_like(item.labels, calibration.ignore_index)
        return count(scores, labels, item.labels)

    def alone(item: LabelledScores) -> bool:  # a large one, whose labels are made on all cores
        return elsewhere(item) or isinstance(item, LabelledParts)

    for item, result in in_parallel(labelled, islice(images, ENOUGH), here=alone):
        with item.named():
            counts = result()
        yield counts


def _most_probable(scores: Any) -> _Array:
    """The most probable classes of all pixels, one after the other."""
    tensor = to_tensor(scores, "scores")
    image = as_image(tensor[0]) if tensor.ndim == 5 else tensor  # a batch of one volume
    found: _Array = unfiltered_labels(image, "most-probable", 0).cpu().numpy().ravel()
    return found


def _no_background(true: _Array, background: int | None) -> str:
    most = int(true.argmax())
    if background is None or most == background:
        return ""
    shares = 100 * true / true.sum()
    return (
        f"Class {background} is taken for the background, and class {most} is more common "
        f"({shares[most]:.0f} % of the labelled pixels against {shares[background]:.0f} %): name "
        f"the background with --background, or none where no class is one."
    )
