"""The exact law of coverage and the sizes that it asks for."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
import scipy.stats

from conformal_plugin.errors import AlphaError, OptionError
from conformal_plugin.testing import (
    calibration_images_for,
    calibration_size_for,
    correlated_scores,
    coverage_law,
    coverage_spread,
)
from conformal_plugin.testing._laws import covered_cdf


def test_the_law_is_that_of_ranks_counted_by_hand() -> None:
    # Of the C(n + m, n) equally likely orders, those with j test scores below the k-th calibration
    # score: k - 1 + j scores come before it, n - k + m - j after.
    n, m, k = 4, 3, 4  # alpha = 0.3: ceil(5 * 0.7) = 4
    law = coverage_law(n, 0.3, m)
    for j in range(m + 1):
        exact = Fraction(comb(k - 1 + j, j) * comb(n - k + m - j, m - j), comb(n + m, n))
        assert law.pmf(j) == pytest.approx(float(exact), rel=1e-12)


def test_reference_band_of_500_and_2000() -> None:
    low, high = coverage_law(500, 0.1, 2000).interval(0.999)
    assert (round(low / 2000, 3), round(high / 2000, 3)) == (0.845, 0.944)


def test_an_infinite_threshold_covers_all() -> None:
    law = coverage_law(8, 0.1, 50)
    assert law.pmf(50) == 1.0
    assert law.cdf(49) == 0.0


def test_the_law_agrees_with_drawn_scores() -> None:
    rng = np.random.default_rng(0)
    thresholds = np.sort(rng.random((4000, 20)), axis=1)[:, 18]
    covered = (rng.random((4000, 10)) <= thresholds[:, None]).sum(axis=1)
    counts = np.bincount(covered, minlength=11)
    expected = 4000 * coverage_law(20, 0.1, 10).pmf(np.arange(11))
    rare = expected < 10
    observed = [*counts[~rare], counts[rare].sum()]
    assert scipy.stats.chisquare(observed, [*expected[~rare], expected[rare].sum()]).pvalue > 1e-4


def test_the_sum_of_runs_is_the_convolution() -> None:
    totals = np.array([3, 5, 5])
    cdf, step = covered_cdf(9, 0.2, totals)
    mass = np.ones(1)
    for total in totals:
        mass = np.convolve(mass, coverage_law(9, 0.2, int(total)).pmf(np.arange(total + 1)))
    assert step == 1
    np.testing.assert_allclose(cdf, np.cumsum(mass), rtol=0, atol=1e-12)


def test_a_long_sum_is_coarsened_to_an_exact_law(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("conformal_plugin.testing._laws._LARGEST_SUPPORT", 6)
    cdf, step = covered_cdf(9, 0.2, np.array([5, 6]))
    assert step == 2
    first, second = coverage_law(9, 0.2, 5).pmf(np.arange(6)), coverage_law(9, 0.2, 6)
    expected = np.zeros(6)
    for a, mass in enumerate(first):
        for b in range(7):
            expected[a // 2 + b // 2] += mass * second.pmf(b)
    np.testing.assert_allclose(cdf, np.cumsum(expected), rtol=0, atol=1e-12)


@pytest.mark.parametrize("alpha", [0.05, 0.1, 0.5, 0.8])
@pytest.mark.parametrize("sd", [0.05, 0.02])
def test_the_size_is_the_smallest_from_which_the_spread_stays(alpha: float, sd: float) -> None:
    n = calibration_size_for(alpha, sd)
    assert all(coverage_spread(later, alpha) <= sd for later in range(n, 3 * n))
    assert coverage_spread(n - 1, alpha) > sd or coverage_law(n - 1, alpha, 1).pmf(1) == 1.0


def test_the_spread_is_that_of_beta() -> None:
    assert coverage_spread(500, 0.1) == pytest.approx(scipy.stats.beta(451, 50).std())
    assert coverage_spread(8, 0.1) == 0.0


def test_images_needed_follow_the_spread_between_images() -> None:
    scores = correlated_scores(2000, 64, seed=0)
    images = calibration_images_for((scores <= 0.9).mean(axis=1), 0.1, 0.0107)
    pixels = calibration_size_for(0.1, 0.0107)
    assert 64 * images > 5 * pixels
    # The estimate against the spread it speaks of: means of that many fresh images.
    means = [(correlated_scores(images, 64, seed=s) <= 0.9).mean() for s in range(1, 201)]
    assert 0.85 < np.std(means) / 0.0107 < 1.15
    assert calibration_images_for([0.9, 0.9], 0.1, 0.01) == 9


def test_bad_arguments_say_what_to_do() -> None:
    with pytest.raises(OptionError, match="n_calibration must be a positive integer, got 0"):
        coverage_law(0, 0.1, 5)
    with pytest.raises(OptionError, match="n_test must be a positive integer, got 2.0"):
        coverage_law(5, 0.1, 2.0)  # type: ignore[arg-type]
    with pytest.raises(AlphaError, match="strictly between 0 and 1"):
        coverage_law(5, 1.0, 5)
    with pytest.raises(OptionError, match="sd must be a positive number"):
        calibration_size_for(0.1, 0.0)
    with pytest.raises(OptionError, match=r"pass Evaluation\.image_coverage"):
        calibration_images_for([0.9], 0.1, 0.01)
