"""What candidates are worth over all folds: mIoU, precision, kept, recall, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

__all__ = ["FoldCounts", "jackknife"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class FoldCounts:
    """Pixels that each candidate labels, by fold.

    Attributes:
        labelled: int64 ``(folds, candidates, K)``, labels by class.
        right: int64 ``(folds, candidates, K)``, those that are right.
        true: int64 ``(folds, K)``, pixels by true class.
        classes: the classes that the mIoU is the mean over.
        background: the class that is no object, for the recall.
    """

    labelled: Array
    right: Array
    true: Array
    classes: Sequence[int]
    background: int

    @cached_property
    def miou(self) -> tuple[Array, Array]:
        """Each candidate's mIoU, dropped pixels being misses, and without each fold in turn.

        ``(candidates,)`` and ``(folds, candidates)``.
        """
        return self._with_and_without(self._miou)

    @cached_property
    def precision(self) -> tuple[Array, Array]:
        """Right labels among all labels, likewise; NaN where nothing is labelled."""
        return self._with_and_without(
            lambda labelled, right, true: _ratio(right.sum(axis=-1), labelled.sum(axis=-1))
        )

    @cached_property
    def kept(self) -> tuple[Array, Array]:
        """Labels among all pixels, likewise."""
        return self._with_and_without(
            lambda labelled, right, true: _ratio(
                labelled.sum(axis=-1), true.sum(axis=-1)[..., None]
            )
        )

    @cached_property
    def recall(self) -> tuple[Array, Array]:
        """Right labels among the pixels of objects, likewise; NaN where there is no such pixel.

        Objects are the classes of the mIoU but the background; dropped pixels are misses.
        """
        objects = [c for c in self.classes if c != self.background]
        return self._with_and_without(
            lambda labelled, right, true: _ratio(
                right[..., objects].sum(axis=-1), true[..., objects].sum(axis=-1)[..., None]
            )
        )

    def _with_and_without(
        self, measure: Callable[[Array, Array, Array], Array]
    ) -> tuple[Array, Array]:
        parts = (self.labelled, self.right, self.true)
        totals = [part.sum(axis=0) for part in parts]
        without = [total - part for total, part in zip(totals, parts)]
        return measure(*totals), measure(*without)

    def _miou(self, labelled: Array, right: Array, true: Array) -> Array:
        union = labelled + true[..., None, :] - right
        iou = _ratio(right, union)[..., list(self.classes)]
        present = ~np.isnan(iou)
        return _ratio(np.where(present, iou, 0.0).sum(axis=-1), present.sum(axis=-1))


def jackknife(without: Array) -> Array:
    """Standard errors ``(...)`` from the values ``(folds, ...)`` without each fold in turn.

    The delete-a-group jackknife, ``sqrt((m - 1) / m sum_j (v_j - mean v)^2)`` (Efron and Tibshirani
    1993, chapter 11): with an image a fold, the spread over images, thresholds held.
    """
    folds = len(without)
    spread = ((without - without.mean(axis=0)) ** 2).sum(axis=0)
    errors: Array = np.sqrt((folds - 1) / folds * spread)
    return errors


def _ratio(part: Array, whole: Array) -> Array:
    ratio = np.full(np.broadcast_shapes(part.shape, whole.shape), math.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio
