"""The first reading: each fold's thresholds, calibrated on the images of all other folds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from conformal_plugin.calibration import conformal_rank
from conformal_plugin.scores import ScoreGrid, TrueScores, as_tensor

__all__ = ["FoldScores", "codes_by_class"]

Array = np.ndarray[Any, Any]

_PART_PIXELS = 2**20
"""As many are counted by class at once, which takes some forty bytes of each."""


class FoldScores:
    """The true classes' scores of every fold, counted by code, and by class and code.

    The counts by class are kept for the codes that occur: an image holds few classes.

    Args:
        grid: of the maps' dtype.
        folds: number of folds.
        num_classes: K.
    """

    def __init__(self, grid: ScoreGrid, folds: int, num_classes: int) -> None:
        self._grid = grid
        self._counts = np.zeros((folds, grid.size), dtype=np.int64)
        self._by_class: list[tuple[Array, Array]] = [_nothing() for _ in range(folds)]
        self._units = np.zeros((folds, num_classes), dtype=np.int64)
        self._held: dict[str, Array] = {}  # by each group, whether it has held the class before

    def add(self, fold: int, true: TrueScores, by_class: tuple[Array, Array]) -> None:
        """Count one image; those of a group belong to one fold, and hold a class once.

        Args:
            fold: where it goes.
            true: what was read of it.
            by_class: :func:`codes_by_class` of that.
        """
        self._counts[fold] += self._grid.histogram(true.patterns)
        new = true.pixels > 0
        if true.group is not None:
            before = self._held.get(true.group, np.zeros_like(new))
            self._held[true.group] = before | new
            new &= ~before
        self._units[fold] += new
        self._by_class[fold] = _added(self._by_class[fold], by_class)

    def qhats(self, alphas: Sequence[float]) -> Array:
        """What each fold is labelled with, float64 ``(folds, alphas)``: q-hat of the other folds.

        Infinite where the rank exceeds the pixels. For float32 and float64 scores rounded up by at
        most 2**-16, as :meth:`conformal_plugin.Calibrator.result` rounds.
        """
        total = self._counts.sum(axis=0)
        return np.array([self._qhats(total - own, alphas) for own in self._counts])

    def class_qhats(self, alphas: Sequence[float], min_images: int) -> Array:
        """The same with a threshold per class, float64 ``(folds, alphas, K)``.

        As :class:`conformal_plugin.ClassConditionalCalibrator` pools: classes that fewer than
        ``min_images`` images, or groups, of the other folds hold, or whose threshold would be 1,
        have that of all classes.
        """
        folds, num_classes = self._units.shape
        shape = (num_classes, self._grid.size)
        total = np.zeros(num_classes * self._grid.size, dtype=np.int64)
        for keys, counts in self._by_class:
            total[keys] += counts
        of_all = np.array([self._qhats(row, alphas) for row in total.reshape(shape)]).T
        pooled = self.qhats(alphas)
        qhats = np.empty((folds, len(alphas), num_classes))
        for fold, (keys, counts) in enumerate(self._by_class):
            own = of_all.copy()
            for c in np.unique(keys // self._grid.size):
                rest = total.reshape(shape)[c].copy()
                mine = keys // self._grid.size == c
                rest[keys[mine] % self._grid.size] -= counts[mine]
                own[:, c] = self._qhats(rest, alphas)
            few = self._units.sum(axis=0) - self._units[fold] < min_images
            qhats[fold] = np.where(few | (own >= 1.0), pooled[fold][:, None], own)
        return qhats

    def _qhats(self, counts: Array, alphas: Sequence[float]) -> list[float]:
        from_top = np.cumsum(counts[::-1])
        pixels = int(from_top[-1])
        ranks = [conformal_rank(pixels, alpha) for alpha in alphas]
        codes = len(counts) - 1 - np.searchsorted(from_top, ranks)
        return [
            1.0 - self._grid.lower_edge(int(code)) if rank <= pixels else math.inf
            for rank, code in zip(ranks, codes)
        ]


def codes_by_class(true: TrueScores, grid: ScoreGrid) -> tuple[Array, Array]:
    """An image's pixels by class and code: those that occur, as ``class * grid.size + code``.

    Returns:
        int64 ``(n,)``, ascending, each once; and the pixels of each.
    """
    total = _nothing()
    classes, patterns = as_tensor(true.classes), as_tensor(true.patterns)
    for start in range(0, len(classes), _PART_PIXELS):
        some = slice(start, start + _PART_PIXELS)
        of_some, of_their_patterns = classes[some].cpu(), patterns[some].cpu()
        kept = of_some < len(true.pixels)
        codes = grid.codes_of(of_their_patterns[kept]).numpy().astype(np.int64)
        keys = of_some[kept].numpy().astype(np.int64) * grid.size + codes
        total = _added(total, np.unique(keys, return_counts=True))
    return total


def _added(first: tuple[Array, Array], second: tuple[Array, Array]) -> tuple[Array, Array]:
    """The counts of both."""
    if not len(first[0]):
        return second
    keys, places = np.unique(np.concatenate([first[0], second[0]]), return_inverse=True)
    counts = np.zeros(len(keys), dtype=np.int64)
    np.add.at(counts, places, np.concatenate([first[1], second[1]]))
    return keys, counts


def _nothing() -> tuple[Array, Array]:
    return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
