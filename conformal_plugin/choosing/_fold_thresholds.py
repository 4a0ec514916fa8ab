"""The first reading: each fold's threshold, calibrated on the images of all other folds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from conformal_plugin.calibration import conformal_rank
from conformal_plugin.scores import ScoreGrid, TrueScores

__all__ = ["FoldScores"]


class FoldScores:
    """The true classes' scores of every fold, counted by code.

    Args:
        grid: of the maps' dtype.
        folds: number of folds.
    """

    def __init__(self, grid: ScoreGrid, folds: int) -> None:
        self._grid = grid
        self._counts = np.zeros((folds, grid.size), dtype=np.int64)

    def add(self, fold: int, true: TrueScores) -> None:
        """Count one image."""
        self._counts[fold] += self._grid.histogram(true.patterns)

    def qhats(self, alphas: Sequence[float]) -> np.ndarray[Any, Any]:
        """What each fold is labelled with, float64 ``(folds, alphas)``: q-hat of the other folds.

        Infinite where the rank exceeds the pixels. For float32 and float64 scores rounded up by at
        most 2**-16, as :meth:`conformal_plugin.Calibrator.result` rounds.
        """
        total = self._counts.sum(axis=0)
        return np.array([self._qhats(total - own, alphas) for own in self._counts])

    def _qhats(self, counts: np.ndarray[Any, Any], alphas: Sequence[float]) -> list[float]:
        from_top = np.cumsum(counts[::-1])
        pixels = int(from_top[-1])
        ranks = [conformal_rank(pixels, alpha) for alpha in alphas]
        codes = len(counts) - 1 - np.searchsorted(from_top, ranks)
        return [
            1.0 - self._grid.lower_edge(int(code)) if rank <= pixels else math.inf
            for rank, code in zip(ranks, codes)
        ]
