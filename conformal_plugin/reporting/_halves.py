"""Coverage on one half of the images at thresholds from the other half, and what chance allows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from conformal_plugin.calibration import Calibrator, add_reading, conformal_rank, index_from_top
from conformal_plugin.errors import TooFewImagesError
from conformal_plugin.scores import LabelledScores, TrueScores, grid_of, read_true_scores
from conformal_plugin.testing import coverage_law

__all__ = ["CoverageCurve", "Halves"]

_BAND = 0.9


@dataclass(frozen=True)
class CoverageCurve:
    """Observed coverage against alpha, and the central 90 % of its law.

    Attributes:
        alphas: ascending; those with a finite threshold.
        observed: share covered at each.
        low, high: the band; NaN where it cannot be said.
    """

    alphas: tuple[float, ...]
    observed: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]


class Halves:
    """Deals images to a calibration half and a test half in turn, and counts both.

    Args:
        tau: share of an image's pixels at which the image counts as covered.
        ignore_index: label of pixels to leave out.
    """

    def __init__(self, *, tau: float = 0.9, ignore_index: int = 255) -> None:
        self.tau = tau
        self._ignore_index = ignore_index
        self._calibrators = [Calibrator(ignore_index=ignore_index) for _ in range(2)]
        self._counts: list[Any] = [0, 0]
        self._image_codes: list[list[int]] = [[], []]

    @property
    def images(self) -> tuple[int, int]:
        """How many images each half has."""
        return len(self._image_codes[0]), len(self._image_codes[1])

    def read(self, item: LabelledScores) -> TrueScores:
        """What :meth:`add` takes; touches nothing here, so that threads can share it."""
        return read_true_scores(item, self._ignore_index, grid_of(item.scores))

    def add(self, item: LabelledScores, true: TrueScores) -> None:
        """Count an image; ones without a labelled pixel are left out."""
        grid = grid_of(item.scores)
        total = int(true.pixels.sum())
        if not total:
            return
        half = sum(self.images) % 2
        by_code = grid.histogram(true.patterns)
        self._counts[half] = self._counts[half] + by_code
        needed = math.ceil(Fraction(str(self.tau)) * total)
        self._image_codes[half].append(index_from_top(by_code, needed))
        add_reading(self._calibrators[half], item, true)

    def pixels(self, alphas: Sequence[float]) -> CoverageCurve:
        """Pooled pixels; the band takes them for as many independent ones as they are worth.

        That number differs with alpha and is an estimate in both halves, so the band is a guide.

        Raises:
            TooFewImagesError: a half is empty.
        """
        self._require_both()
        first, second = self._counts
        rows = []
        for alpha in sorted(alphas):
            rank = conformal_rank(int(first.sum()), alpha)
            if rank > first.sum():
                continue
            code = index_from_top(first, rank)
            observed = float(second[code:].sum() / second.sum())
            worth = [each.result(alpha).n_effective for each in self._calibrators]
            rows.append((alpha, observed, *_band(worth[0], alpha, worth[1])))
        return _curve(rows)

    def covered_images(self, alphas: Sequence[float]) -> CoverageCurve:
        """Images with a share tau of their pixels covered: one observation each, an exact law.

        Raises:
            TooFewImagesError: a half is empty.
        """
        self._require_both()
        first = np.sort(self._image_codes[0])[::-1]  # a larger code, a smaller nonconformity
        second = np.array(self._image_codes[1])
        rows = []
        for alpha in sorted(alphas):
            rank = conformal_rank(len(first), alpha)
            if rank > len(first):
                continue
            observed = float((second >= first[rank - 1]).mean())
            rows.append((alpha, observed, *_band(len(first), alpha, len(second))))
        return _curve(rows)

    def _require_both(self) -> None:
        if not all(self.images):
            raise TooFewImagesError(
                f"a report calibrates on half of the labelled images and measures on the others; "
                f"it needs at least two with a labelled pixel, got {sum(self.images)}"
            )


def _band(calibrated: float | None, alpha: float, measured: float | None) -> tuple[float, float]:
    if calibrated is None or measured is None or not min(calibrated, measured) >= 1:
        return math.nan, math.nan
    observations = int(measured)
    low, high = coverage_law(int(calibrated), alpha, observations).interval(_BAND)
    return float(low) / observations, float(high) / observations


def _curve(rows: Sequence[tuple[float, float, float, float]]) -> CoverageCurve:
    columns = tuple(zip(*rows)) or ((), (), (), ())
    return CoverageCurve(*columns)
