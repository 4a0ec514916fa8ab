"""How often the assertions of conformal_plugin.testing fail a sound calibration, and a broken one.

    python benchmarks/false_alarms.py [--runs 10000] [--seed 0]

Each honest run draws calibration and test data afresh, calibrates soundly and asserts at stated
rates of 1e-3 and 1e-2. "Most by chance" is the 99.9 % point of Binomial(runs, rate): a test whose
level holds stays at or below it in 999 of 1000 runs of this script. Broken runs have one fault
each.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import scipy.stats

from conformal_plugin import Evaluation, calibrate, evaluate
from conformal_plugin.calibration import conformal_rank
from conformal_plugin.testing import (
    assert_coverage,
    assert_exchangeable_coverage,
    assert_image_coverage,
    assert_image_precision,
    assert_point_coverage,
    assert_precision,
    assert_threshold_rule,
    correlated_scores,
)

RATES = (1e-3, 1e-2)
ALPHA = 0.1
PIXELS = 64
CORRELATION = 0.3

Draw = Callable[[np.random.Generator], Callable[[float], None]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=10_000, help="honest runs of each case")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    honest(arguments.runs, arguments.seed)
    broken(max(1, arguments.runs // 20), arguments.seed)


def honest(runs: int, seed: int) -> None:
    print(
        f"honest runs, alpha {ALPHA}, {runs} each; images of {PIXELS} pixels, r = {CORRELATION}\n"
    )
    print("| assertion | data | stated rate | alarms | rate | most by chance | s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for number, (assertion, data, draw) in enumerate(HONEST):
        start = time.perf_counter()
        alarms = count(draw, runs, seed + number)
        seconds = time.perf_counter() - start
        for rate, number_of_alarms in zip(RATES, alarms):
            most = int(scipy.stats.binom.isf(1e-3, runs, rate))
            print(
                f"| {assertion} | {data} | {rate:g} | {number_of_alarms} | "
                f"{number_of_alarms / runs:.4f} | {most} | {seconds:.0f} |",
                flush=True,
            )


def broken(runs: int, seed: int) -> None:
    print(f"\nbroken runs, alpha {ALPHA}, {runs} each: share that is caught\n")
    print("| fault | assertion | at 1e-3 | at 1e-2 |")
    print("| --- | --- | --- | --- |")
    for number, (fault, assertion, draw) in enumerate(BROKEN):
        alarms = count(draw, runs, seed + 1000 + number)
        shares = " | ".join(f"{number_of_alarms / runs:.3f}" for number_of_alarms in alarms)
        print(f"| {fault} | {assertion} | {shares} |", flush=True)


def count(draw: Draw, runs: int, seed: int) -> list[int]:
    """Runs that fail, for each rate."""
    rng = np.random.default_rng(seed)
    alarms = [0] * len(RATES)
    for _ in range(runs):
        run = draw(rng)
        for index, rate in enumerate(RATES):
            try:
                run(rate)
            except AssertionError:
                alarms[index] += 1
    return alarms


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


def image_level(n: int, m: int, *, known: bool, shift: float = 0.0, correct: bool = True) -> Draw:
    """Image-level conformal risk control; a shift raises the test images' scores."""

    def draw(rng: np.random.Generator) -> Callable[[float], None]:
        scores = correlated_scores(n + m, PIXELS, correlation=CORRELATION, seed=rng)
        scores[n:] **= 1 / (1 + shift)
        allowed = int(np.floor((ALPHA * (n + correct) - correct) * PIXELS + 1e-9))
        threshold = np.sort(scores[:n], axis=None)[-1 - allowed]
        covered = (scores <= threshold).mean(axis=1)
        if known:
            return lambda rate: assert_exchangeable_coverage(
                covered[n:], covered[:n], alpha=ALPHA, false_alarm=rate
            )
        return lambda rate: assert_image_coverage(
            covered[n:], n_calibration=n, alpha=ALPHA, false_alarm=rate
        )

    return draw


def precision(m: int, *, excess: float = 1.0) -> Draw:
    """Images whose risk is epsilon, or a multiple of it, with strongly varying image risks."""

    def draw(rng: np.random.Generator) -> Callable[[float], None]:
        risks = rng.beta(0.5, 0.5 * (1 / (ALPHA * excess) - 1), m)
        kept = rng.integers(1, PIXELS + 1, m)
        wrong = rng.binomial(kept, risks)
        return lambda rate: assert_image_precision(wrong, kept, epsilon=ALPHA, false_alarm=rate)

    return draw


def evaluated_precision(m: int, *, excess: float = 1.0) -> Draw:
    """Images of which some pixels are dropped; of the kept ones a varying share is wrong."""

    def draw(rng: np.random.Generator) -> Callable[[float], None]:
        kept = rng.integers(1, PIXELS + 1, m)
        # As correlated as it gets: all that an image keeps is wrong, or none of it.
        wrong = kept * (rng.random(m) < ALPHA * excess)
        right, dropped = kept - wrong, PIXELS - kept
        evaluation = Evaluation(
            confusion=np.array([[right.sum(), wrong.sum(), dropped.sum()], [0, 0, 0]]),
            set_sizes=np.array([dropped.sum(), kept.sum(), 0]),
            image_pixels=np.full(m, PIXELS),
            image_covered=right,
            image_kept=kept,
            image_wrong=wrong,
            rule="most-probable",
        )
        return lambda rate: assert_precision(evaluation, ALPHA, false_alarm=rate)

    return draw


def rule(threshold: Callable[[np.ndarray, float], float], n: int) -> Draw:
    def draw(rng: np.random.Generator) -> Callable[[float], None]:
        seed = int(rng.integers(2**32))
        return lambda rate: assert_threshold_rule(
            threshold, n_calibration=n, alpha=ALPHA, runs=200, seed=seed, false_alarm=rate
        )

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


def uncorrected(scores: np.ndarray, alpha: float) -> float:
    return float(np.sort(scores)[int(np.ceil(len(scores) * (1 - alpha))) - 1])


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


HONEST: list[tuple[str, str, Draw]] = [
    ("assert_point_coverage", "500 and 2000", points(500, 2000)),
    ("assert_point_coverage", "100 runs of 20 and 50", repeated_points(20, 100)),
    ("assert_exchangeable_coverage", "92 and 245 images", image_level(92, 245, known=True)),
    ("assert_exchangeable_coverage", "20 and 100 images", image_level(20, 100, known=True)),
    ("assert_image_coverage", "92 and 245 images", image_level(92, 245, known=False)),
    ("assert_image_coverage", "20 and 100 images", image_level(20, 100, known=False)),
    ("assert_image_precision", "245 images", precision(245)),
    ("assert_precision", "245 images", evaluated_precision(245)),
    ("assert_precision", "100 images", evaluated_precision(100)),
]

BROKEN: list[tuple[str, str, Draw]] = [
    ("no (n + 1) correction, n = 20", "assert_threshold_rule, 200 runs", rule(uncorrected, 20)),
    ("clamped threshold, n = 8", "assert_threshold_rule, 200 runs", rule(clamped, 8)),
    ("labels one class off", "assert_coverage, 500 and 100 points", shifted_labels(500, 100)),
    ("same images", "assert_exchangeable_coverage, 92", on_the_calibration_images(92)),
    (
        "no correction, 20 images",
        "assert_exchangeable_coverage, 20 and 100",
        image_level(20, 100, known=True, correct=False),
    ),
    *(
        (
            f"scores s ** (1 / {1 + shift:g}) at test",
            f"{'assert_exchangeable_coverage' if known else 'assert_image_coverage'}, 92 and 245",
            image_level(92, 245, known=known, shift=shift),
        )
        for shift in (0.5, 1.0, 2.0)
        for known in (True, False)
    ),
    ("twice epsilon wrong", "assert_image_precision, 245", precision(245, excess=2.0)),
    ("twice epsilon wrong", "assert_precision, 245", evaluated_precision(245, excess=2.0)),
]


if __name__ == "__main__":
    main()
