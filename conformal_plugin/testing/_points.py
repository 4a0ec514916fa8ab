"""Coverage of exchangeable points: the test by the beta-binomial law, for one run or many."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from conformal_plugin.calibration import conformal_rank, exact_alpha
from conformal_plugin.errors import OptionError
from conformal_plugin.testing._failures import CoverageError
from conformal_plugin.testing._laws import checked_count, checked_rate, covered_cdf

__all__ = ["assert_point_coverage", "assert_threshold_rule"]


def assert_point_coverage(
    covered: Any,
    total: Any,
    *,
    n_calibration: int,
    alpha: float,
    false_alarm: float = 1e-3,
    side: str = "low",
) -> None:
    """Fail when fewer test points are covered than chance allows.

    Null hypothesis: in each run the ``n_calibration`` calibration points and the ``total`` test
    points are exchangeable, the threshold is the ``ceil((n + 1)(1 - alpha))``-th smallest
    calibration score (infinite when that exceeds n), and runs are independent. Then the covered
    points follow :func:`coverage_law`, summed over runs, or more: ties only push coverage up. The
    law is exact, so that the alarm rate is at most the stated one, and as near to it as counts of
    points allow. Pixels of images are not exchangeable points, nor are points
    that come in groups: use :func:`assert_coverage`.

    One run with few calibration points says little (20 points at alpha 0.1: coverage of 0.73 is
    within chance), so a threshold rule is best tested over many runs, each with fresh data.

    Args:
        covered: number of test points covered: an integer, or one per run ``(runs,)``.
        total: number of test points: an integer, or one per run.
        n_calibration: number of calibration points (of each run).
        alpha: miscoverage level in (0, 1).
        false_alarm: rate at which a sound calibration fails, at most.
        side: ``"low"``, or ``"both"`` to fail on coverage that is too high as well, which needs
            scores without ties.

    Raises:
        CoverageError: coverage too low (or too high) to be chance; an ``AssertionError``.
        AlphaError, OptionError: arguments that cannot be.

    Example:
        >>> drawn = {"n_calibration": 500, "alpha": 0.1}
        >>> assert_point_coverage(1790, 2000, **drawn)
        >>> assert_point_coverage(1600, 2000, **drawn)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        conformal_plugin.testing._failures.CoverageError: coverage 0.8 is too low to be chance: ...
    """
    __tracebackhide__ = True
    exact = exact_alpha(alpha)
    n = checked_count("n_calibration", n_calibration)
    rate = checked_rate("false_alarm", false_alarm)
    if side not in ("low", "both"):
        raise OptionError(f"side must be 'low' or 'both', got {side!r}")
    hits, totals = _counts(covered, total)
    cdf, step = covered_cdf(n, alpha, totals)
    observed = int((hits // step).sum())
    low = float(cdf[observed])
    high = 1.0 - (float(cdf[observed - 1]) if observed else 0.0)
    rank = conformal_rank(n, alpha)
    if rank > n:
        low = float(np.array_equal(hits, totals))  # all are covered, with certainty
    if side == "both":
        p_value, level = min(1.0, 2 * min(low, high)), rate / 2
    else:
        p_value, level = low, rate
    if p_value > rate:
        return
    tested, share = int(totals.sum()), float(hits.sum() / totals.sum())
    lowest = int(np.searchsorted(cdf, level, side="right")) * step / tested
    runs = f"{len(totals)} runs of " if len(totals) > 1 else ""
    counts = (
        f"{int(hits.sum())} of {tested} test points covered; {runs}{n} calibration points; rank "
        f"{rank} of {n}{' (so the threshold is infinite)' if rank > n else ''}"
    )
    null = (
        "calibration and test points are exchangeable (covered ~ BetaBinomial"
        f"(m, {rank}, {n + 1 - rank}))"
        if rank <= n
        else "the threshold is infinite, as it must be, every point is covered"
    )
    if side == "both" and high < low:
        counts += f"; too HIGH: more than {_highest(cdf, level, step, tested):.6g} is not chance"
    raise CoverageError(
        observed=share,
        target=float(1 - exact),
        lowest=lowest,
        p_value=p_value,
        false_alarm=rate,
        n_calibration=n,
        n_test=tested,
        unit="point",
        null=null,
        counts=counts,
    )


def assert_threshold_rule(
    rule: Callable[[np.ndarray[Any, Any], float], Any],
    *,
    n_calibration: int,
    alpha: float,
    runs: int = 1000,
    false_alarm: float = 1e-3,
    seed: int = 0,
) -> None:
    """Fail when a rule that turns calibration scores into a threshold covers too little.

    The rule is called ``runs`` times on ``n_calibration`` fresh scores, uniform on [0, 1], so that
    the true coverage of a threshold is the threshold itself; 200 test points a run are drawn from
    it and judged by :func:`assert_point_coverage`.

    Args:
        rule: ``rule(scores, alpha)``, with float64 scores ``(n_calibration,)``, returns a number:
            the largest score that is still covered, ``inf`` when no finite one will do.
        n_calibration: number of calibration scores of each run.
        alpha: miscoverage level in (0, 1).
        runs: number of runs.
        false_alarm: rate at which a sound rule fails, at most, over the choice of ``seed``.
        seed: seed of the scores.

    Raises:
        CoverageError: the rule covers too little; an ``AssertionError``.
        OptionError: the rule returned no number, or other arguments that cannot be.

    Example:
        >>> def uncorrected(scores, alpha):
        ...     return np.quantile(scores, 1 - alpha)
        >>> settings = {"n_calibration": 20, "alpha": 0.1}
        >>> assert_threshold_rule(uncorrected, **settings)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        conformal_plugin.testing._failures.CoverageError: coverage 0.86... is too low...
    """
    __tracebackhide__ = True
    n = checked_count("n_calibration", n_calibration)
    repeats = checked_count("runs", runs)
    exact_alpha(alpha)
    rng = np.random.default_rng(seed)
    covered = np.zeros(repeats, dtype=np.int64)
    for run in range(repeats):
        threshold = rule(rng.random(n), alpha)
        try:
            true_coverage = float(threshold)
        except (TypeError, ValueError):
            true_coverage = math.nan
        if math.isnan(true_coverage):
            raise OptionError(
                f"the rule must return one number, the threshold; it returned {threshold!r}"
            )
        covered[run] = rng.binomial(_TEST_POINTS, min(max(true_coverage, 0.0), 1.0))
    assert_point_coverage(
        covered, _TEST_POINTS, n_calibration=n, alpha=alpha, false_alarm=false_alarm
    )


_TEST_POINTS = 200


def _highest(cdf: np.ndarray[Any, Any], level: float, step: int, tested: int) -> float:
    """The highest share of covered points that is within chance."""
    return min(1.0, (int(np.searchsorted(cdf, 1 - level)) * step + step - 1) / tested)


def _counts(covered: Any, total: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Both as int64 arrays ``(runs,)``."""
    hits, totals = np.atleast_1d(np.asarray(covered)), np.atleast_1d(np.asarray(total))
    for name, values in (("covered", hits), ("total", totals)):
        if values.dtype.kind not in "iu" or values.ndim != 1 or not len(values):
            raise OptionError(
                f"{name} must be an integer, or one integer per run, got an array of shape "
                f"{values.shape} and dtype {values.dtype}; pass counts, not shares"
            )
    if len(totals) not in (1, len(hits)):
        raise OptionError(
            f"covered has {len(hits)} runs and total has {len(totals)}; pass one total for all, or "
            f"one for each run"
        )
    hits = hits.astype(np.int64)
    totals = np.broadcast_to(totals.astype(np.int64), hits.shape)
    if np.any(totals < 1) or np.any(hits < 0) or np.any(hits > totals):
        raise OptionError(
            "covered must lie between 0 and total in each run, and total must be positive"
        )
    return hits, totals
