"""Coverage promised with confidence: kept promises pass, broken ones fail, per image or group."""

from __future__ import annotations

import numpy as np
import pytest

from conformal_plugin import calibrate_with_confidence, evaluate
from conformal_plugin.errors import OptionError
from conformal_plugin.testing import (
    CoverageError,
    SameDataError,
    assert_confident_coverage,
    assert_coverage,
)

ALPHA = 0.1


def coverage_of(images: int, missed: float, seed: int) -> np.ndarray:
    return 1 - np.random.default_rng(seed).beta(0.5, 0.5 * (1 / missed - 1), images)


def test_a_kept_promise_passes_and_a_broken_one_fails() -> None:
    assert_confident_coverage(coverage_of(245, ALPHA, 0), alpha=ALPHA)
    poor = coverage_of(245, 3 * ALPHA, 1)
    with pytest.raises(CoverageError, match="the image as the unit") as caught:
        assert_confident_coverage(poor, alpha=ALPHA)
    error = caught.value
    assert error.observed == pytest.approx(poor.mean())
    assert error.observed < error.lowest <= 1 - ALPHA
    assert (error.target, error.n_test, error.n_calibration) == (0.9, 245, None)
    assert "with probability delta" in str(error)
    # Just above what is said to pass, it passes; just below, it does not.
    scale = (1 - error.lowest) / (1 - poor.mean())
    assert_confident_coverage(1 - (1 - poor) * scale * 0.999, alpha=ALPHA)
    with pytest.raises(CoverageError):
        assert_confident_coverage(1 - (1 - poor) * scale * 1.001, alpha=ALPHA)


def test_ids_make_the_order_of_images_indifferent() -> None:
    poor = coverage_of(100, 3 * ALPHA, 2)
    names = np.array([f"photo {i}" for i in range(100)])
    found = set()
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(100)
        with pytest.raises(CoverageError) as caught:
            assert_confident_coverage(poor[order], alpha=ALPHA, ids=names[order], false_alarm=0.05)
        found.add(caught.value.p_value)
    assert len(found) == 1
    with pytest.raises(OptionError, match="100 different ones"):
        assert_confident_coverage(poor, alpha=ALPHA, ids=["a"] * 100)


def test_groups_are_the_draws() -> None:
    whole = np.repeat(np.array([0.0] * 4 + [1.0] * 6), 30)  # four of ten videos are missed
    with pytest.raises(CoverageError, match="300 test images"):
        assert_confident_coverage(whole, alpha=0.2)
    assert_confident_coverage(whole, alpha=0.2, groups=np.repeat(np.arange(10), 30))


def scenes(images: int, seed: int, power: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, (images, 8, 8))
    sure = 0.5 + 0.5 * rng.random((images, 8, 8)) ** power
    return np.stack([np.where(labels == c, sure, 1 - sure) for c in (0, 1)], axis=1), labels


def test_assert_coverage_knows_the_promise() -> None:
    maps, labels = scenes(92, 0)
    calibration = calibrate_with_confidence(maps, labels, ALPHA)
    own = evaluate(maps, labels, calibration)
    assert_coverage(evaluate(*scenes(245, 1), calibration), calibration)
    assert_coverage(evaluate(*scenes(245, 1), calibration), calibration, calibration_evaluation=own)
    with pytest.raises(CoverageError, match="245 test images") as caught:
        assert_coverage(evaluate(*scenes(245, 2, power=3.0), calibration), calibration)
    assert caught.value.n_calibration == 92
    with pytest.raises(SameDataError):
        assert_coverage(own, calibration, calibration_evaluation=own)
    videos = [f"video {i // 2}" for i in range(92)]
    grouped = calibrate_with_confidence(maps, labels, ALPHA, groups=videos)
    test = evaluate(*scenes(90, 3, power=3.0), grouped)
    with pytest.raises(CoverageError, match="45 test groups"):
        assert_coverage(test, grouped, groups=[f"other {i // 2}" for i in range(90)])
