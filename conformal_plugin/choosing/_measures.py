"""What candidates are worth over all folds, from information to recall, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from conformal_plugin.choosing._label_counts import LabelCounts

__all__ = ["FoldCounts", "jackknife"]

Array = np.ndarray[Any, Any]


class FoldCounts:
    """Pixels by candidate, true class and label, with and without each fold in turn.

    Args:
        folds: what candidates label, by fold.
        true: int64 ``(folds, K)``, pixels by true class.
        classes: the classes that the mIoU is the mean over.
        background: the class that is no object; None where every class is one.
    """

    def __init__(
        self,
        folds: Sequence[LabelCounts],
        true: Array,
        classes: Sequence[int],
        background: int | None,
    ) -> None:
        self.true = true
        self.classes = list(classes)
        self.background = background
        self._objects = [c for c in self.classes if c != background]
        total = np.zeros(folds[0].shape, dtype=np.int64)
        for fold in folds:
            total.ravel()[fold.keys] += fold.counts
        whole, without = _summary(total), []
        for fold in folds:
            total.ravel()[fold.keys] -= fold.counts
            without.append(_summary(total))
            total.ravel()[fold.keys] += fold.counts
        self._whole = whole
        self._without = {name: np.stack([one[name] for one in without]) for name in whole}

    @property
    def candidates(self) -> int:
        """How many there are."""
        return len(self._whole["right"])

    @cached_property
    def information(self) -> tuple[Array, Array]:
        """What the labels tell of what there is to know, and without each fold in turn.

        The mutual information of label and true class over the pixels that keep a label, times
        their share, since a dropped pixel tells nothing; divided by the entropy of the true class.
        NaN where there is one class alone. ``(candidates,)`` and ``(folds, candidates)``.
        """
        return self._with_and_without(
            lambda parts, true: _ratio(
                parts["nats"],
                (_x_log_x(true.sum(axis=-1)) - _x_log_x(true).sum(axis=-1))[..., None],
            )
        )

    @cached_property
    def miou(self) -> tuple[Array, Array]:
        """Each candidate's mIoU, dropped pixels being misses, likewise."""
        return self._with_and_without(self._miou)

    @cached_property
    def precision(self) -> tuple[Array, Array]:
        """Right labels among all labels, likewise; NaN where nothing is labelled."""
        return self._with_and_without(
            lambda parts, true: _ratio(parts["right"].sum(axis=-1), parts["labelled"].sum(axis=-1))
        )

    @cached_property
    def kept(self) -> tuple[Array, Array]:
        """Labels among all pixels, likewise."""
        return self._with_and_without(
            lambda parts, true: _ratio(parts["labelled"].sum(axis=-1), true.sum(axis=-1)[..., None])
        )

    @cached_property
    def recall(self) -> tuple[Array, Array]:
        """Right labels among the pixels of objects, likewise; NaN where there is no such pixel.

        Objects are the classes of the mIoU but the background; dropped pixels are misses.
        """
        return self._with_and_without(
            lambda parts, true: _ratio(
                parts["right"][..., self._objects].sum(axis=-1),
                true[..., self._objects].sum(axis=-1)[..., None],
            )
        )

    @property
    def more_right_than_wrong(self) -> Array:
        """Which candidates give more of the objects' pixels a right label than a wrong one."""
        right = self._whole["right"][:, self._objects].sum(axis=-1)
        given = self._whole["given"][:, self._objects].sum(axis=-1)
        more: Array = 2 * right > given
        return more

    def _with_and_without(
        self, measure: Callable[[dict[str, Array], Array], Array]
    ) -> tuple[Array, Array]:
        total = self.true.sum(axis=0)
        return measure(self._whole, total), measure(self._without, total - self.true)

    def _miou(self, parts: dict[str, Array], true: Array) -> Array:
        union = parts["labelled"] + true[..., None, :] - parts["right"]
        iou = _ratio(parts["right"], union)[..., self.classes]
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


def _summary(table: Array) -> dict[str, Array]:
    """What is measured of pixels ``(candidates, K, K)`` by true class and label."""
    labelled, given = table.sum(axis=1), table.sum(axis=2)
    # sum n_yl log(n_yl n / (n_y n_l)), split into sums of x log x; rounding can put 0 below it
    nats = (
        _x_log_x(table).sum(axis=(1, 2))
        - _x_log_x(labelled).sum(axis=1)
        - _x_log_x(given).sum(axis=1)
        + _x_log_x(labelled.sum(axis=1))
    )
    return {
        "labelled": labelled,
        "given": given,
        "right": np.diagonal(table, axis1=1, axis2=2).copy(),
        "nats": np.maximum(nats, 0.0),
    }


def _x_log_x(counts: Array) -> Array:
    values = counts.astype(np.float64)
    return values * np.log(np.maximum(values, 1.0))


def _ratio(part: Array, whole: Array) -> Array:
    ratio = np.full(np.broadcast_shapes(part.shape, whole.shape), math.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio
