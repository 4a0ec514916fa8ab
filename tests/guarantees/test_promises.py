"""Every exact calibration keeps its promise on images whose pixels are strongly correlated.

s = Phi(sqrt(r) a_image + sqrt(1 - r) e_pixel) is uniform at each pixel, so a threshold q covers a
share q of pixels, whatever the correlation: the truth is known without a test set. Seeds are fixed;
under another seed each assertion would raise a false alarm in one run of 1000 (``ALARM``). The full
simulation is ``benchmarks/coverage_simulation.py``.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import binom, norm

from conformal_plugin import Calibration, calibrate
from conformal_plugin.calibration import (
    calibrate_class_conditional_image_level,
    calibrate_clustered,
    calibrate_image_level,
    calibrate_image_wise,
    calibrate_with_confidence,
)

ALARM = 1e-3
ALPHA = 0.1
PIXELS = 200
SIZES = [(20, 150), (92, 40)]  # images, repeats


def correlated(rng: np.random.Generator, images: int, r: float = 0.3) -> np.ndarray:
    shared = math.sqrt(r) * rng.standard_normal((images, 1))
    return ndtr(shared + math.sqrt(1 - r) * rng.standard_normal((images, PIXELS)))


def calibrated(
    function: Callable[..., Calibration], scores: np.ndarray, **options: object
) -> Calibration:
    p = (1 - scores).astype(np.float16)
    maps = np.stack([p, 1 - p], axis=1)[:, :, None]
    return function(maps, np.zeros((len(scores), 1, PIXELS), np.uint8), ALPHA, **options)


def least_hits(trials: int, probability: float) -> int:
    """The smallest count that is not too low: below it a kept promise falls with chance ALARM."""
    return int(binom.ppf(ALARM, trials, probability))


def low_mean(values: np.ndarray, promised: float) -> float:
    """What the mean of independent repeats stays above, where the promise is kept."""
    return promised - norm.ppf(1 - ALARM) * values.std(ddof=1) / math.sqrt(len(values))


@pytest.mark.parametrize(("images", "repeats"), SIZES)
def test_image_level(images: int, repeats: int) -> None:
    rng = np.random.default_rng(images)
    truth, hits = [], 0
    for _ in range(repeats):
        qhat = float(calibrated(calibrate_image_level, correlated(rng, images)).qhat)
        truth.append(min(qhat, 1.0))
        # One pixel of one new image: a Bernoulli trial, so that the count has an exact law.
        hits += int(correlated(rng, 1)[0, 0] <= qhat)
    coverage = np.array(truth)
    assert hits >= least_hits(repeats, 1 - ALPHA)
    assert coverage.mean() >= low_mean(coverage, 1 - ALPHA)
    # And not by being loose: risk control overshoots by at most 2 / (K + 1).
    tight = 1 - ALPHA + 2 / (images + 1)
    assert coverage.mean() <= 2 * tight - low_mean(coverage, tight)


@pytest.mark.parametrize(("images", "repeats"), SIZES)
def test_image_wise_has_its_exact_law(images: int, repeats: int) -> None:
    tau = 0.9
    rng = np.random.default_rng(images + 50)
    hits = 0
    for _ in range(repeats):
        result = calibrated(calibrate_image_wise, correlated(rng, images), tau=tau)
        hits += int((correlated(rng, 1) <= result.qhat).mean() >= tau)
    # Continuous scores: a new image is covered with probability rank / (K + 1) exactly.
    probability = math.ceil((images + 1) * (1 - ALPHA)) / (images + 1)
    assert binom.ppf(ALARM / 2, repeats, probability) <= hits
    assert hits <= binom.ppf(1 - ALARM / 2, repeats, probability)


@pytest.mark.parametrize(("images", "delta", "repeats"), [(40, 0.3, 150), (92, 0.1, 60)])
def test_confidence_breaks_in_at_most_delta(images: int, delta: float, repeats: int) -> None:
    rng = np.random.default_rng(images + 200)
    truth, hits = [], 0
    for _ in range(repeats):
        scores = correlated(rng, images)
        found = calibrated(calibrate_with_confidence, scores, delta=delta)
        truth.append(min(float(found.qhat), 1.0))
        # Image level promises less.
        hits += truth[-1] >= float(calibrated(calibrate_image_level, scores).qhat)
    broken = int((np.array(truth) < 1 - ALPHA).sum())
    assert broken <= binom.ppf(1 - ALARM, repeats, delta)
    # And not by covering everything.
    assert np.mean(truth) < 1 - ALPHA / 4
    assert hits > repeats / 2


@pytest.mark.parametrize(("images", "repeats"), [(20, 60), (92, 25)])
def test_each_class_and_each_cluster(images: int, repeats: int) -> None:
    rng = np.random.default_rng(images + 100)
    # Class 2 is held by half of the images and scored worse: its q covers a share q ** (1 / 3).
    powers = np.array([1.0, 1.0, 3.0])
    truth: dict[str, list[float]] = {"class 0": [], "class 2": [], "cluster": []}
    for _ in range(repeats):
        labels = rng.integers(0, 2, (images, 1, PIXELS))
        held = rng.random(images) < 0.5
        labels[held] = rng.integers(0, 3, (int(held.sum()), 1, PIXELS))
        p = (1 - correlated(rng, images) ** powers[labels[:, 0]]).astype(np.float16)
        maps = np.repeat(p[:, None, None], 3, axis=1)
        result = calibrate_class_conditional_image_level(maps, labels, ALPHA)
        truth["class 0"].append(min(float(result.qhat[0]), 1.0))
        if 2 not in result.pooled_classes:
            truth["class 2"].append(min(float(result.qhat[2]), 1.0) ** (1 / 3))
        clustered = calibrate_clustered(maps, labels, ALPHA, clusters=[0, 0, 1])
        truth["cluster"].append(min(float(clustered.qhat[0]), 1.0))
    assert len(truth["class 2"]) > repeats / 3
    for name, values in truth.items():
        coverage = np.array(values)
        assert coverage.mean() >= low_mean(coverage, 1 - ALPHA), name


def test_these_tests_would_notice_a_broken_promise() -> None:
    images, repeats = SIZES[0]
    rng = np.random.default_rng(0)
    broken = []
    for _ in range(repeats):
        scores = correlated(rng, images)
        # Half as many misses again as are allowed.
        broken.append(np.quantile(scores, 1 - 1.5 * ALPHA))
    coverage = np.array(broken)
    assert coverage.mean() < low_mean(coverage, 1 - ALPHA)


def test_the_spread_of_pooled_pixels_is_that_of_images() -> None:
    images, repeats = 92, 40
    rng = np.random.default_rng(5)
    results = [calibrated(calibrate, correlated(rng, images)) for _ in range(repeats)]
    coverage = np.array([float(result.qhat) for result in results])
    spread = coverage.std(ddof=1)
    variance = ALPHA * (1 - ALPHA)
    assert not results[0].guarantee.exact
    assert spread > 4 * math.sqrt(variance / (images * PIXELS))
    sizes = [result.n_effective for result in results]
    assert all(size is not None and images / 2 < size < images * PIXELS / 10 for size in sizes)
    # The spread of 40 repeats is known to 37 % at the alarm rate (chi-square).
    estimated = math.sqrt(variance / float(np.median([size or math.nan for size in sizes])))
    assert 0.63 * estimated < spread < 1.37 * estimated
