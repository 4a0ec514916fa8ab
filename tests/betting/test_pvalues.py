"""The two tests of a mean loss: their level by exact and simulated laws, their messages."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom

from conformal_plugin.betting import betting_pvalue, hoeffding_bentkus_pvalue
from conformal_plugin.errors import OptionError, ScoreError, ShapeError

FALSE_ALARM = 1e-6
"""Probability that a simulation here fails although the level is kept exactly."""


def most_failures(runs: int, delta: float) -> int:
    return int(binom.ppf(1 - FALSE_ALARM, runs, delta))


@pytest.mark.parametrize("risk", [0.05, 0.1, 0.3])
@pytest.mark.parametrize("delta", [0.1, 0.05])
def test_betting_keeps_its_level_for_bernoulli_risk(risk: float, delta: float) -> None:
    # A published implementation fails 21 % of the time at delta .1 here.
    runs = 20_000
    losses = np.random.default_rng(1).random((100, runs)) < risk
    failures = int((betting_pvalue(losses, risk, aim=delta) <= delta).sum())
    assert failures <= most_failures(runs, delta)


@pytest.mark.parametrize("aim", [0.001, 0.1, 1.0])
def test_betting_is_valid_at_every_level_whatever_it_aims_at(aim: float) -> None:
    runs = 10_000
    losses = np.random.default_rng(2).beta(0.1, 0.9, (100, runs))  # mean 0.1, skewed
    p = betting_pvalue(losses, 0.1, aim=aim)
    for level in (0.5, 0.2, 0.1, 0.05, 0.01, 0.001):
        assert int((p <= level).sum()) <= most_failures(runs, level)


@pytest.mark.parametrize("n", [20, 100, 400])
@pytest.mark.parametrize("risk", [0.02, 0.05, 0.1, 0.3])
def test_hoeffding_bentkus_keeps_its_level_exactly(n: int, risk: float) -> None:
    count = np.arange(n + 1)
    p = hoeffding_bentkus_pvalue(np.arange(n)[:, None] < count, risk)  # one column per count
    assert (np.diff(p) >= 0).all()
    for delta in (0.2, 0.1, 0.05, 0.01):
        assert binom.pmf(count[p <= delta], n, risk).sum() <= delta


def test_betting_rejects_more_than_hoeffding_bentkus_where_losses_vary_little() -> None:
    losses = np.random.default_rng(3).beta(2, 48, (100, 500))  # mean 0.04
    betting, bentkus = (p(losses, 0.1) for p in (betting_pvalue, hoeffding_bentkus_pvalue))
    assert (betting <= 0.01).mean() > 0.99
    assert (bentkus <= 0.01).mean() < 0.01


def test_formulas_at_the_ends() -> None:
    assert hoeffding_bentkus_pvalue(np.zeros(50), 0.1) == pytest.approx(0.9**50)
    assert hoeffding_bentkus_pvalue(np.ones(50), 0.1) == 1.0
    assert hoeffding_bentkus_pvalue([0.05] * 20 + [0.15] * 20, 0.1) == 1.0
    assert betting_pvalue(np.ones(50), 0.1) == 1.0
    # One image: the first bet is min(cap, sqrt(2 ln(1 / aim) / variance)), and the cap is reached.
    assert betting_pvalue([0.0], 0.1) == pytest.approx(0.9)


def test_columns_are_separate_hypotheses() -> None:
    losses = np.random.default_rng(4).random((30, 5)) * 0.2
    for test in (betting_pvalue, hoeffding_bentkus_pvalue):
        assert test(losses, 0.15) == pytest.approx([test(column, 0.15) for column in losses.T])
    aims = np.array([0.1, 0.05, 0.01, 0.1, 1.0])
    each = [betting_pvalue(column, 0.15, aim=a) for column, a in zip(losses.T, aims)]
    assert betting_pvalue(losses, 0.15, aim=aims) == pytest.approx(each)


def test_ten_thousand_faultless_images_do_not_overflow() -> None:
    p = betting_pvalue(np.zeros(10_000), 0.3)
    assert math.isfinite(p)
    assert p >= 0.0


def test_what_is_refused() -> None:
    for test in (betting_pvalue, hoeffding_bentkus_pvalue):
        for epsilon in (0, 1.0, math.nan, True, "0.1", None):
            with pytest.raises(OptionError, match="epsilon must be a number strictly between"):
                test([0.1], epsilon)
        with pytest.raises(ShapeError, match=r"\(n,\) or \(n, G\) with at least one"):
            test([], 0.1)
        with pytest.raises(ShapeError, match=r"got \(2, 2, 2\); pass one row per image"):
            test(np.zeros((2, 2, 2)), 0.1)
        for wrong in (-0.1, 1.1, math.nan):
            with pytest.raises(ScoreError, match=r"losses must lie in \[0, 1\]"):
                test([0.1, wrong], 0.1)
    for aim in (0.0, 1.5, math.nan, [0.1, 0.1]):
        with pytest.raises(OptionError, match=r"aim must be a level in \(0, 1\]"):
            betting_pvalue([0.1], 0.1, aim=aim)
