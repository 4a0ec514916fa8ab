"""The two tests for images, against every split of small bags and against correlated pixels."""

from __future__ import annotations

from itertools import combinations
from math import comb, exp

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings, strategies as st

from conformal_plugin.testing import CoverageError, correlated_scores
from conformal_plugin.testing._exchangeability import (
    highest_loss,
    log_chance_of_equal_halves,
    seed_of_bag,
    split_p_value,
    threshold_p_value,
)
from conformal_plugin.testing._images import require_exchangeable

N, M, PIXELS, ALPHA = 3, 4, 3, 0.5
TARGET = (ALPHA * (N + 1) - 1) / N


def thresholds_of_all_splits(scores: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Losses of calibration and test images at the threshold that each split calibrates."""
    grid = np.unique(scores)
    losses = np.array([(scores > q).mean(axis=1) for q in grid])  # (thresholds, images)
    result = []
    for chosen in combinations(range(N + M), N):
        calibration = np.isin(np.arange(N + M), chosen)
        reached = losses[:, calibration].mean(axis=1) <= TARGET + 1e-12
        at = losses[np.argmax(reached)]
        result.append((at[calibration], at[~calibration]))
    return result


def never_above_its_level(p_values: list[float]) -> bool:
    values = np.array(p_values)
    return all((values <= p).mean() <= p + 1e-9 for p in values)


# Few distinct scores: ties within and between images are where an argument by jumps could fail.
BAGS = st.lists(
    st.lists(st.integers(0, 6), min_size=PIXELS, max_size=PIXELS), min_size=N + M, max_size=N + M
).map(np.array)


@given(BAGS)
@settings(max_examples=15)
def test_the_bound_holds_over_every_split_of_a_bag(scores: np.ndarray) -> None:
    splits = thresholds_of_all_splits(scores)
    assert never_above_its_level(
        [threshold_p_value(N, TARGET, M, float(test.mean())) for _, test in splits]
    )


@given(BAGS)
@settings(max_examples=15)
def test_the_permutation_value_holds_over_every_split_of_a_bag(scores: np.ndarray) -> None:
    p_values = []
    for calibration, test in thresholds_of_all_splits(scores):
        bag = np.concatenate([calibration, test])
        means = [bag[list(chosen)].mean() for chosen in combinations(range(N + M), N)]
        p_values.append(float(np.mean(np.array(means) <= TARGET + 1e-12)))
    assert never_above_its_level(p_values)


@pytest.mark.parametrize("sizes", [(4, 6), (6, 4)])
def test_drawn_splits_estimate_the_share_of_all(sizes: tuple[int, int]) -> None:
    n, m = sizes
    bag = np.random.default_rng(0).random(n + m)
    target = float(np.quantile(bag, 0.4))
    share = np.mean([bag[list(c)].mean() <= target for c in combinations(range(n + m), n)])
    estimate = split_p_value(bag[:n], bag[n:], target, 0.999, seed=0)
    low, high = scipy.stats.binom.interval(1 - 1e-6, 999, share)
    assert low / 1000 <= estimate <= (high + 1) / 1000


def test_drawing_stops_early_only_above_the_level() -> None:
    rng = np.random.default_rng(1)
    calibration, test = rng.random(30), rng.random(30)
    target = float(calibration.mean())
    full = split_p_value(calibration, test, target, 0.999, seed=0)
    assert full > 0.01
    assert split_p_value(calibration, test, target, 0.01, seed=0) > 0.01
    assert split_p_value(calibration, test + 1, target, 0.01, seed=0) == 1e-4


def test_the_splits_of_two_bags_have_nothing_in_common() -> None:
    """Drawn with one seed from sorted bags, the values would all err by the same amount."""
    rng = np.random.default_rng(2)
    calibration, test = np.sort(rng.random(20)), np.sort(rng.random(20) + 0.18)
    raised: set[str] = set()
    for hair in 1e-9 * np.arange(8):  # too little to change any split's hit
        with pytest.raises(CoverageError) as caught:
            require_exchangeable(
                calibration, float(calibration.mean()), test + hair, target=0.9, false_alarm=0.3
            )
        raised.add(f"{caught.value.p_value:.4f}")
    assert len(raised) > 3
    assert seed_of_bag(calibration, test) == seed_of_bag(calibration.copy(), test.copy())


def test_the_bound_is_the_hypergeometric_tail_or_more() -> None:
    # Losses of 0 or 1 are a case it must cover: m test images, all lost, and no calibration image.
    n, m = 10, 5
    assert threshold_p_value(n, 0.0, m, 1.0) >= 1 / comb(n + m, m)
    assert threshold_p_value(n, 0.0, m, 1.0) < 1e-3
    assert threshold_p_value(n, 0.1, m, 0.1) == 1.0
    assert threshold_p_value(n, 0.1, m, 0.0) == 1.0
    assert threshold_p_value(n, -0.05, m, 1e-9) == 0.0
    assert threshold_p_value(n, 1.0, m, 1.0) == 1.0


def test_the_band_ends_where_the_bound_meets_the_level() -> None:
    edge = highest_loss(92, 0.09, 245, 1e-3)
    assert threshold_p_value(92, 0.09, 245, edge) > 1e-3
    assert threshold_p_value(92, 0.09, 245, edge + 1e-6) <= 1e-3
    assert highest_loss(5, -0.1, 10, 1e-3) == 0.0


def test_equal_halves_are_as_rare_as_counting_says() -> None:
    items = np.repeat([0, 1, 2], [4, 2, 2])
    splits = [list(c) for c in combinations(range(8), 4)]
    even = np.mean([np.bincount(items[c], minlength=3).tolist() == [2, 1, 1] for c in splits])
    assert exp(log_chance_of_equal_halves([2, 1, 1])) == pytest.approx(float(even))
    assert log_chance_of_equal_halves([5]) == 0.0


@pytest.mark.parametrize(("n", "m"), [(20, 40), (40, 20)])
def test_false_alarms_with_correlated_pixels(n: int, m: int) -> None:
    """r = 0.3: the permutation test at its level, the distribution-free bound below it."""
    rng, level, repeats, alpha, pixels = np.random.default_rng(n), 0.05, 200, 0.2, 16
    target = (alpha * (n + 1) - 1) / n
    allowed = int(np.floor(target * n * pixels + 1e-9))
    permuted = bounded = 0
    for repeat in range(repeats):
        scores = correlated_scores(n + m, pixels, correlation=0.3, seed=rng)
        qhat = np.sort(scores[:n], axis=None)[-1 - allowed]
        losses = (scores > qhat).mean(axis=1)
        permuted += split_p_value(losses[:n], losses[n:], target, level, seed=repeat) <= level
        bounded += threshold_p_value(n, target, m, float(losses[n:].mean())) <= level
    low, high = scipy.stats.binom.interval(1 - 1e-5, repeats, level)
    assert low <= permuted <= high
    assert bounded <= high
