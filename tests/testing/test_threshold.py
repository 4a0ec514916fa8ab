"""assert_threshold: every usual mistake shows in one run, and is named."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from conformal_plugin import calibrate
from conformal_plugin.calibration import conformal_rank
from conformal_plugin.errors import OptionError
from conformal_plugin.testing import ThresholdError, assert_threshold

ALPHA = 0.1
Rule = Callable[[np.ndarray], float]


def scores_of(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(n)


def sound(scores: np.ndarray, alpha: float = ALPHA) -> float:
    rank = math.ceil(round((len(scores) + 1) * (1 - alpha), 9))
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else math.inf


def ranked(rank: Callable[[int], int]) -> Rule:
    return lambda scores: float(np.sort(scores)[rank(len(scores)) - 1])


def quantile(level: Callable[[int], float], method: str = "linear") -> Rule:
    return lambda scores: float(np.quantile(scores, level(len(scores)), method=method))


MISTAKES: dict[str, tuple[int, Rule]] = {
    "no (n + 1) correction: the rank": (92, ranked(lambda n: math.ceil(0.9 * n))),
    "floor in place of ceil": (92, ranked(lambda n: math.floor(0.9 * (n + 1)))),
    "floor(n (1 - alpha))": (92, ranked(lambda n: math.floor(0.9 * n))),
    "np.quantile(scores, 1 - alpha)": (92, quantile(lambda n: 0.9)),
    'np.quantile(scores, 1 - alpha, method="higher")': (92, quantile(lambda n: 0.9, "higher")),
    'np.quantile(scores, 1 - alpha, method="lower")': (92, quantile(lambda n: 0.9, "lower")),
    "np.quantile(scores, (n + 1)(1 - alpha) / n)": (92, quantile(lambda n: 0.9 * (n + 1) / n)),
    "np.quantile(scores, ceil((n + 1)(1 - alpha)) / n)": (92, quantile(lambda n: 84 / n)),
    "an index one too high": (92, ranked(lambda n: 85)),
    "an index one too low": (92, ranked(lambda n: 83)),
    "alpha in place of 1 - alpha": (92, ranked(lambda n: 10)),
    "1 - q-hat in place of q-hat": (92, lambda scores: 1 - sound(scores)),
    "an infinite threshold, which": (92, lambda scores: math.inf),
    "clamped to the largest score": (8, lambda scores: float(scores.max())),
    "clamped to 1": (8, lambda scores: 1.0),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_wrong_rule_shows_in_one_run_and_is_named(mistake: str) -> None:
    n, rule = MISTAKES[mistake]
    scores = scores_of(n)
    assert_threshold(scores, sound(scores), alpha=ALPHA)
    with pytest.raises(ThresholdError) as caught:
        assert_threshold(scores, rule(scores), alpha=ALPHA)
    error = caught.value
    assert any(mistake in name for name in error.mistakes)
    assert mistake in str(error)
    assert (error.n, error.rank) == (n, conformal_rank(n, ALPHA))
    assert error.expected == sound(scores)
    assert error.covered == (scores <= rule(scores)).sum()


@settings(max_examples=30)
@given(
    n=st.integers(1, 60), alpha=st.sampled_from([0.01, 0.05, 0.1, 0.3]), seed=st.integers(0, 999)
)
def test_the_librarys_own_thresholds_pass(n: int, alpha: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    maps, labels = rng.random((n, 3)).astype(np.float32), rng.integers(0, 3, n)
    true = maps[np.arange(n), labels]
    assert_threshold(1 - true.astype(np.float64), calibrate(maps, labels, alpha).qhat, alpha=alpha)


def test_another_number_is_said_to_be_none_of_these() -> None:
    with pytest.raises(ThresholdError, match="none of the usual mistakes gives this number"):
        assert_threshold(scores_of(92), 0.123456, alpha=ALPHA)


def test_sides_and_tolerance() -> None:
    scores = scores_of(92)
    right = sound(scores)
    assert_threshold(scores, right + 0.01, alpha=ALPHA, side="low")
    assert_threshold(scores, math.inf, alpha=ALPHA, side="low")
    assert_threshold(scores, right - 1e-5, alpha=ALPHA, tolerance=1.6e-5)
    with pytest.raises(ThresholdError, match="higher than need be"):
        assert_threshold(scores, right + 0.01, alpha=ALPHA)
    with pytest.raises(ThresholdError, match="is too low"):
        assert_threshold(scores, right - 1e-5, alpha=ALPHA, side="low")
    assert_threshold(scores.reshape(4, 23).astype(np.float32), np.float32(right), alpha=ALPHA)


def test_what_is_refused() -> None:
    for qhat in (math.nan, "0.5", [0.1, 0.2], None, True):
        with pytest.raises(OptionError, match="qhat must be one number"):
            assert_threshold([0.1, 0.2], qhat, alpha=ALPHA)
    for scores in ([], [0.1, math.nan]):
        with pytest.raises(OptionError, match="at least one and no NaN"):
            assert_threshold(scores, 0.1, alpha=ALPHA)
    with pytest.raises(OptionError, match="side must be"):
        assert_threshold([0.1], 0.1, alpha=ALPHA, side="high")
    with pytest.raises(OptionError, match="tolerance must be"):
        assert_threshold([0.1], 0.1, alpha=ALPHA, tolerance=-1)
