"""Exchangeable points: the exact test, over one run and many."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from conformal_plugin.calibration import conformal_rank
from conformal_plugin.errors import OptionError
from conformal_plugin.testing import (
    CoverageError,
    assert_point_coverage,
    assert_threshold_rule,
    coverage_law,
)


def sound(scores: np.ndarray, alpha: float) -> float:
    rank = conformal_rank(len(scores), alpha)
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else np.inf


def uncorrected(scores: np.ndarray, alpha: float) -> float:
    return float(np.sort(scores)[int(np.ceil(len(scores) * (1 - alpha))) - 1])


def clamped(scores: np.ndarray, alpha: float) -> float:
    return float(np.sort(scores)[min(conformal_rank(len(scores), alpha), len(scores)) - 1])


def test_no_correction_at_20_is_caught_and_the_sound_rule_passes() -> None:
    assert_threshold_rule(sound, n_calibration=20, alpha=0.1)
    with pytest.raises(CoverageError, match=r"no \(n \+ 1\) correction") as caught:
        assert_threshold_rule(uncorrected, n_calibration=20, alpha=0.1)
    assert caught.value.observed == pytest.approx(18 / 21, abs=0.01)
    assert caught.value.lowest == pytest.approx(19 / 21, abs=0.01)
    assert caught.value.p_value < 1e-6


def test_a_clamped_threshold_is_caught_for_certain() -> None:
    assert_threshold_rule(sound, n_calibration=8, alpha=0.1)
    with pytest.raises(CoverageError, match="is impossible") as caught:
        assert_threshold_rule(clamped, n_calibration=8, alpha=0.1, runs=10)
    assert caught.value.p_value == 0.0
    assert caught.value.lowest == 1.0
    assert "so the threshold is infinite" in str(caught.value)


def test_the_level_is_exact_at_every_count() -> None:
    n, m, rate = 30, 40, 0.02
    law = coverage_law(n, 0.1, m)
    failing = 0.0
    edges = set()
    for covered in range(m + 1):
        try:
            assert_point_coverage(covered, m, n_calibration=n, alpha=0.1, false_alarm=rate)
        except CoverageError as error:
            failing += law.pmf(covered)
            edges.add(round(error.lowest * m))
    assert failing <= rate
    # One more count would break the level, and is the lowest that passes.
    (edge,) = edges
    assert failing + law.pmf(edge) > rate


def test_both_sides() -> None:
    drawn = {"n_calibration": 500, "alpha": 0.1}
    assert_point_coverage(2000, 2000, **drawn)
    with pytest.raises(CoverageError, match="too HIGH: more than 0.9"):
        assert_point_coverage(2000, 2000, side="both", **drawn)
    with pytest.raises(CoverageError):
        assert_point_coverage(1600, 2000, side="both", **drawn)
    assert_point_coverage(1800, 2000, side="both", **drawn)
    with pytest.raises(OptionError, match="side must be 'low' or 'both'"):
        assert_point_coverage(2000, 2000, side="high", **drawn)


def test_runs_of_different_sizes() -> None:
    assert_point_coverage([18, 45], [20, 50], n_calibration=100, alpha=0.1)
    with pytest.raises(CoverageError, match="2 runs of 100 calibration points"):
        assert_point_coverage([11, 20], [20, 50], n_calibration=100, alpha=0.1)


def test_honest_repeats_fail_at_the_stated_rate() -> None:
    rng, rate, repeats = np.random.default_rng(5), 0.05, 400
    alarms = 0
    for _ in range(repeats):
        thresholds = np.sort(rng.random((30, 20)), axis=1)[:, 18]
        covered = rng.binomial(50, thresholds)
        try:
            assert_point_coverage(covered, 50, n_calibration=20, alpha=0.1, false_alarm=rate)
        except CoverageError:
            alarms += 1
    low, high = scipy.stats.binom.interval(1 - 1e-5, repeats, rate)
    assert low <= alarms <= high


@pytest.mark.parametrize(
    ("covered", "total", "message"),
    [
        (0.9, 1, "pass counts, not shares"),
        (5, 4, "between 0 and total"),
        (-1, 4, "between 0 and total"),
        ([1, 2], [3, 4, 5], "covered has 2 runs and total has 3"),
        ([], 4, "pass counts"),
    ],
)
def test_bad_counts(covered: object, total: object, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        assert_point_coverage(covered, total, n_calibration=10, alpha=0.1)


def test_bad_rates_and_rules() -> None:
    for rate in (0.0, 1.0, 1e-12, True, "low"):
        with pytest.raises(OptionError, match="false_alarm must be a rate"):
            assert_point_coverage(1, 1, n_calibration=10, alpha=0.1, false_alarm=rate)  # type: ignore[arg-type]
    for returned in (np.nan, np.ones(2), "0.9x", None):
        with pytest.raises(OptionError, match="must return one number"):
            assert_threshold_rule(lambda scores, alpha, r=returned: r, n_calibration=9, alpha=0.1)
