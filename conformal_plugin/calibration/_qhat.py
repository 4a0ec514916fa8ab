"""Three ways to q-hat, the formula of ``_quantile.py``: in memory, from counts, from two readings.

All three give the same order statistic; they differ in what they have to hold and to read.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from conformal_plugin.calibration._quantile import conformal_rank
from conformal_plugin.calibration._score_rows import Gains, ScoreRows
from conformal_plugin.calibration._selecting import select
from conformal_plugin.scores import ScoreGrid, TrueScores

__all__ = ["ReadAgain", "Total", "counted", "read_again", "selected"]

ReadAgain = Callable[[], Iterable[TrueScores]]
"""Reads all that was counted once more."""

Total = Callable[[Callable[[], Gains]], Gains]
"""Adds up what several processes read."""


def selected(
    patterns: Sequence[Any], n: int, alpha: float, grid: ScoreGrid
) -> tuple[float, list[int]] | None:
    """Selected in memory: taken where all true scores are few enough to be held, pixel by pixel.

    Args:
        patterns: of the true scores, one array an image; ignored pixels hold ``grid.beyond``, which
            is above all others and changes nothing of what is found from below.
        n: how many pixels are not ignored.
        alpha: miscoverage level.
        grid: of the scores.

    Returns:
        The exact q-hat, and by image how many pixels lie in its bin of counted scores or above;
        None where the rank exceeds ``n``.
    """
    rank = conformal_rank(n, alpha)
    if rank > n:
        return None
    pattern, above = select(patterns, n - rank, grid.first_pattern_of_bin)
    return 1.0 - grid.value(pattern), above


def counted(rows: ScoreRows, alpha: float) -> tuple[np.ndarray[Any, Any], float]:
    """Read off the counts: taken where scores stream by once, and where each has a bin of its own.

    Returns:
        Each row's threshold, and by how much they may have been rounded up.
    """
    codes = [rows.code_at(row, alpha) for row in range(len(rows))]
    qhats = [math.inf if code is None else 1.0 - rows.grid.lower_edge(code) for code in codes]
    finite = any(code is not None for code in codes)
    return np.array(qhats), rows.grid.resolution if finite else 0.0


def read_again(
    rows: ScoreRows, alpha: float, again: ReadAgain, total: Total
) -> np.ndarray[Any, Any]:
    """Counted, then read again: taken where float32 or float64 scores are too many to be held.

    Args:
        rows: the counts of the first reading.
        alpha: miscoverage level.
        again: reads all that this process has counted, as often as it is called.
        total: adds up what it and other processes read.

    Returns:
        Each row's exact threshold.

    Raises:
        OptionError: the data is not the same as the first time.
    """
    qhats, resolution = counted(rows, alpha)
    if resolution == 0.0:
        return qhats
    spans = dict(rows.spans(alpha))
    while unfinished := {row: s for row, s in spans.items() if s.first < s.last}:
        gains = total(functools.partial(rows.gains_within, unfinished, again))
        for row, span in unfinished.items():
            span.narrow(gains[row])
    for row, span in spans.items():
        qhats[row] = 1.0 - rows.grid.value(span.first)
    return qhats
