"""Runs of calibration and test for `false_alarms.py`, drawn one at a time: sound ones, and faults.

A draw calibrates on data of its own and returns the assertion that is to be called at a rate.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from conformal_plugin import Calibration, Evaluation, calibrate, evaluate
from conformal_plugin.calibration import Guarantee, conformal_rank
from conformal_plugin.testing import (
    assert_coverage,
    assert_exchangeable_coverage,
    assert_image_coverage,
    assert_image_wise_coverage,
    assert_point_coverage,
    assert_threshold,
    assert_threshold_rule,
    correlated_scores,
)

ALPHA = 0.1
PIXELS = 64
CORRELATION = 0.3

Draw = Callable[[np.random.Generator], Callable[[float], None]]


def points(n: int, m: int) -> Draw:
    def draw(rng: np.random.Generator) -> Callable[[float], None]:
        threshold = np.sort(rng.random(n))[conformal_rank(n, ALPHA) - 1]
        covered = int(rng.binomial(m, threshold))
        return lambda rate: assert_point_coverage(
            covered, m, n_calibration=n, alpha=ALPHA, false_alarm=rate
        )

    return draw


def repeated_points(n: int, runs: int) -> Draw:
    def draw(rng: np.random.Generator) -> Callable[[float], None]:
        rank = conformal_rank(n, ALPHA)
        thresholds = np.sort(rng.random((runs, n)), axis=1)[:, rank - 1]
        covered = rng.binomial(50, thresholds)
        return lambda rate: assert_point_coverage(
            covered, 50, n_calibration=n, alpha=ALPHA, false_alarm=rate
        )

    return draw


def image_level(
    n: int,
    m: int,
    *,
    known: bool,
    equal: bool = True,
    in_order: bool = False,
    shift: float = 0.0,
    correct: bool = True,
) -> Draw:
    """Image-level conformal risk control; a shift raises the test images' scores."""

    def draw(rng: np.random.Generator) -> Callable[[float], None]:
        scores = correlated_scores(n + m, PIXELS, correlation=CORRELATION, seed=rng)
        scores[n:] **= 1 / (1 + shift)
        shares = image_shares(rng, n + m, equal=equal)
        # The smallest score above which at most this much of the calibration images is left.
        allowed = (ALPHA * (n + correct) - correct) + 1e-9
        order = np.argsort(-scores[:n], axis=None)
        missed = np.cumsum(shares[:n].ravel()[order])
        threshold = scores[:n].ravel()[order[np.searchsorted(missed, allowed, side="right")]]
        covered = np.minimum(((scores <= threshold) * shares).sum(axis=1), 1.0)
        own, test = covered[:n], covered[n:]
        if in_order:
            own, test = np.sort(own), np.sort(test)
        if known:
            return lambda rate: assert_exchangeable_coverage(
                test, own, alpha=ALPHA, false_alarm=rate
            )
        return lambda rate: assert_image_coverage(
            test, n_calibration=n, alpha=ALPHA, false_alarm=rate
        )

    return draw


def image_shares(rng: np.random.Generator, images: int, *, equal: bool) -> np.ndarray:
    """What a pixel counts in its image, ``(images, PIXELS)``; 0 where it has no such pixel."""
    sizes = np.full(images, PIXELS) if equal else rng.integers(1, PIXELS + 1, images)
    return (np.arange(PIXELS) < sizes[:, None]) / sizes[:, None]


def image_wise(n: int, m: int, tau: float = 0.9) -> Draw:
    def draw(rng: np.random.Generator) -> Callable[[float], None]:
        scores = np.sort(correlated_scores(n + m, PIXELS, correlation=CORRELATION, seed=rng))
        needed = scores[:n, int(np.ceil(tau * PIXELS - 1e-9)) - 1]
        threshold = np.sort(needed)[conformal_rank(n, ALPHA) - 1]
        coverage = (scores[n:] <= threshold).mean(axis=1)
        return lambda rate: assert_image_wise_coverage(
            coverage, n_calibration=n, alpha=ALPHA, tau=tau, false_alarm=rate
        )

    return draw


def evaluated(n: int, m: int, *, known: bool) -> Draw:
    """The paper's threshold on pooled pixels, images of unequal sizes, by assert_coverage."""

    def draw(rng: np.random.Generator) -> Callable[[float], None]:
        scores = correlated_scores(n + m, PIXELS, correlation=CORRELATION, seed=rng)
        sizes = rng.integers(1, PIXELS + 1, n + m)
        scores[np.arange(PIXELS) >= sizes[:, None]] = np.inf
        pooled = np.sort(scores[:n], axis=None)[: sizes[:n].sum()]
        threshold = pooled[conformal_rank(len(pooled), ALPHA) - 1]
        covered = (scores <= threshold).sum(axis=1)
        calibration = of_pixels(float(threshold), len(pooled), n)
        own, test = (evaluation_of(sizes[part], covered[part]) for part in (np.s_[:n], np.s_[n:]))
        more = {"calibration_evaluation": own} if known else {"largest_image": PIXELS}
        return lambda rate: assert_coverage(test, calibration, false_alarm=rate, **more)

    return draw


def of_pixels(threshold: float, pixels: int, images: int, groups: int | None = None) -> Calibration:
    """The paper's calibration of a single class that came out at ``threshold``."""
    return Calibration(
        qhat=threshold,
        alpha=ALPHA,
        guarantee=Guarantee("pixel-marginal", "pixel", False, ""),
        ignore_index=255,
        n_pixels=pixels,
        n_images=images,
        pixels_per_class=np.array([pixels]),
        images_per_class=np.array([images]),
        n_groups=groups,
    )


def evaluation_of(sizes: np.ndarray, covered: np.ndarray) -> Evaluation:
    """The evaluation of images of which so many pixels are covered, and kept."""
    return Evaluation(
        confusion=np.array([[sizes.sum(), 0]]),
        set_sizes=np.array([(sizes - covered).sum(), covered.sum()]),
        image_pixels=sizes,
        image_covered=covered,
        image_kept=sizes,
        image_wrong=0 * sizes,
        rule="most-probable",
    )


def rule(threshold: Callable[[np.ndarray, float], float], n: int, runs: int = 200) -> Draw:
    def draw(rng: np.random.Generator) -> Callable[[float], None]:
        seed = int(rng.integers(2**32))
        return lambda rate: assert_threshold_rule(
            threshold, n_calibration=n, alpha=ALPHA, runs=runs, seed=seed, false_alarm=rate
        )

    return draw


def one_threshold(threshold: Callable[[np.ndarray, float], float], n: int) -> Draw:
    def draw(rng: np.random.Generator) -> Callable[[float], None]:
        scores = rng.random(n)
        return lambda rate: assert_threshold(scores, threshold(scores, ALPHA), alpha=ALPHA)

    return draw


def on_the_calibration_images(n: int) -> Draw:
    def draw(rng: np.random.Generator) -> Callable[[float], None]:
        scores = correlated_scores(n, PIXELS, correlation=CORRELATION, seed=rng)
        allowed = int(np.floor((ALPHA * (n + 1) - 1) * PIXELS + 1e-9))
        covered = (scores <= np.sort(scores, axis=None)[-1 - allowed]).mean(axis=1)
        return lambda rate: assert_exchangeable_coverage(
            rng.permutation(covered), covered, alpha=ALPHA, false_alarm=rate
        )

    return draw


def corrected(scores: np.ndarray, alpha: float) -> float:
    return float(np.sort(scores)[conformal_rank(len(scores), alpha) - 1])


def uncorrected(scores: np.ndarray, alpha: float) -> float:
    return float(np.sort(scores)[int(np.ceil(len(scores) * (1 - alpha))) - 1])


def interpolated(scores: np.ndarray, alpha: float) -> float:
    return float(np.quantile(scores, 1 - alpha))


def clamped(scores: np.ndarray, alpha: float) -> float:
    return float(np.sort(scores)[min(len(scores), conformal_rank(len(scores), alpha)) - 1])


def shifted_labels(n: int, m: int) -> Draw:
    """Four classes and an annotator that is mostly right; test labels are one class off."""

    def draw(rng: np.random.Generator) -> Callable[[float], None]:
        labels = rng.integers(0, 4, n + m)
        scores = rng.dirichlet(np.ones(4), n + m)
        scores = 0.5 * scores + 0.5 * np.eye(4)[labels]
        calibration = calibrate(scores[:n], labels[:n], ALPHA)
        evaluation = evaluate(scores[n:], (labels[n:] + 1) % 4, calibration)
        return lambda rate: assert_coverage(evaluation, calibration, false_alarm=rate)

    return draw
