"""How often the assertions of conformal_plugin.testing fail a sound calibration, and a broken one.

    python benchmarks/false_alarms.py [--runs 30000] [--seed 0] [--only PART] [--honest | --broken]

Each honest run draws calibration and test data afresh, calibrates soundly and asserts at stated
rates of 1e-3, 1e-2 and 1e-1. "Most by chance" is the 99.9 % point of Binomial(runs, rate): a test
whose level holds stays at or below it in 999 of 1000 runs of this script. Broken runs have one
fault each. The bets of many runs are taken at once, with the assertion's own p-values and order of
images; the first runs of each case go through the assertion itself and must agree.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.stats
from alarm_draws import (
    ALPHA,
    CORRELATION,
    PIXELS,
    Draw,
    clamped,
    corrected,
    evaluated,
    image_level,
    image_wise,
    interpolated,
    on_the_calibration_images,
    one_threshold,
    points,
    repeated_points,
    rule,
    shifted_labels,
    uncorrected,
)

from conformal_plugin import Evaluation
from conformal_plugin.betting import betting_order, betting_pvalue, by_group
from conformal_plugin.precision import kept_losses
from conformal_plugin.testing import (
    assert_confident_coverage,
    assert_image_precision,
    assert_precision,
    assert_promise_rate,
)

RATES = (1e-3, 1e-2, 1e-1)
AT_ONCE = 2000
CHECKED = 50  # runs whose bets are taken by the assertion as well

Count = Callable[[int, int], list[int]]
"""Alarms at each rate, from a number of runs and a seed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=30_000, help="honest runs of each case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="cases whose name or data holds this text")
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument("--honest", action="store_true", help="no broken runs")
    parts.add_argument("--broken", action="store_true", help="no honest runs")
    arguments = parser.parse_args()
    if not arguments.broken:
        honest(HONEST, arguments.runs, arguments.seed, arguments.only)
    if not arguments.honest:
        broken(max(1, arguments.runs // 60), arguments.seed, arguments.only)


def honest(cases: Sequence[tuple[str, str, Count]], runs: int, seed: int, only: str) -> None:
    most = [int(scipy.stats.binom.isf(1e-3, runs, rate)) for rate in RATES]
    print(
        f"honest runs, alpha {ALPHA}, {runs} each; images of {PIXELS} pixels, r = {CORRELATION}\n"
    )
    columns = " | ".join(f"at {rate:g} (most {m})" for rate, m in zip(RATES, most))
    print(f"| assertion | data | {columns} | s |")
    print("| --- | --- | --- | --- | --- | --- |")
    for number, (assertion, data, count) in enumerate(cases):
        if only not in f"{assertion}, {data}":
            continue
        start = time.perf_counter()
        alarms = count(runs, seed + number)
        cells = " | ".join(
            f"{found}{'' if found <= m else ' TOO MANY'}" for found, m in zip(alarms, most)
        )
        seconds = time.perf_counter() - start
        print(f"| {assertion} | {data} | {cells} | {seconds:.0f} |", flush=True)


def broken(runs: int, seed: int, only: str) -> None:
    print(f"\nbroken runs, alpha {ALPHA}, {runs} each: share that is caught\n")
    print("| fault | assertion | at 0.001 | at 0.01 | at 0.1 |")
    print("| --- | --- | --- | --- | --- |")
    for number, (fault, assertion, draw) in enumerate(BROKEN):
        if only not in f"{assertion}, {fault}":
            continue
        alarms = one_by_one(draw)(runs, seed + 1000 + number)
        shares = " | ".join(f"{number_of_alarms / runs:.3f}" for number_of_alarms in alarms)
        print(f"| {fault} | {assertion} | {shares} |", flush=True)


def one_by_one(draw: Draw) -> Count:
    """Counts with the assertion called for each run, from the largest rate down to the first pass.

    The p-values of these assertions do not depend on the rate, but for splits that a smaller rate
    draws more of, the first ones being the same: what passes at a rate passes at all below it.
    """

    def count(runs: int, seed: int) -> list[int]:
        rng = np.random.default_rng(seed)
        alarms = [0] * len(RATES)
        for _ in range(runs):
            run = draw(rng)
            for index in reversed(range(len(RATES))):
                if not fails(run, RATES[index]):
                    break
                alarms[index] += 1
        return alarms

    return count


def fails(run: Callable[[float], None], rate: float) -> bool:
    try:
        run(rate)
    except AssertionError:
        return True
    return False


@dataclass(frozen=True)
class Kept:
    """Counts of many runs, each ``(images, runs)``: what is measured, kept, and kept wrongly."""

    pixels: np.ndarray
    kept: np.ndarray
    wrong: np.ndarray

    def run(self, number: int) -> Evaluation:
        """The evaluation of one run, of a single class beside the wrong ones."""
        pixels, kept, wrong = (x[:, number] for x in (self.pixels, self.kept, self.wrong))
        right, dropped = kept - wrong, pixels - kept
        return Evaluation(
            confusion=np.array([[right.sum(), wrong.sum(), dropped.sum()], [0, 0, 0]]),
            set_sizes=np.array([dropped.sum(), kept.sum(), 0]),
            image_pixels=pixels,
            image_covered=right,
            image_kept=kept,
            image_wrong=wrong,
            rule="most-probable",
        )


def bets(
    draw: Callable[[np.random.Generator, int], Kept],
    epsilon: float,
    weighting: str,
    groups: Sequence[str] | None = None,
) -> Count:
    """Counts of assert_precision, or of assert_image_precision for ``"macro"``.

    With ``groups``, that of each image that is drawn.
    """
    names = None if groups is None else list(dict.fromkeys(groups))

    def run(counts: Kept, number: int) -> Callable[[float], None]:
        if weighting == "share":
            return lambda rate: assert_precision(
                counts.run(number), epsilon, groups=groups, false_alarm=rate
            )
        wrong, kept = counts.wrong[:, number], counts.kept[:, number]
        return lambda rate: assert_image_precision(
            wrong, kept, epsilon=epsilon, groups=groups, false_alarm=rate
        )

    def count(runs: int, seed: int) -> list[int]:
        rng = np.random.default_rng(seed)
        alarms = [0] * len(RATES)
        for first in range(0, runs, AT_ONCE):
            counts = draw(rng, min(AT_ONCE, runs - first))
            losses = kept_losses(counts.wrong, counts.kept, counts.pixels, epsilon, weighting)
            of_units = by_group(losses, groups)
            gains = 1 - of_units[betting_order(names or range(len(of_units)))]
            for index, rate in enumerate(RATES):
                alarm = betting_pvalue(gains, 1 - epsilon, aim=rate) <= rate
                for number in range(min(len(alarm), CHECKED - first)):
                    if fails(run(counts, number), rate) != alarm[number]:
                        raise RuntimeError(f"run {number} at {rate}: the assertion says otherwise")
                alarms[index] += int(alarm.sum())
        return alarms

    return count


def confident(m: int, alpha: float, *, equal: bool) -> Count:
    """Counts of assert_confident_coverage: an image is missed whole with probability alpha."""

    def draw(rng: np.random.Generator, runs: int) -> np.ndarray:
        if equal:
            return 1.0 - (rng.random((m, runs)) < alpha)
        # A part of an image is missed more often.
        return np.asarray(1.0 - rng.beta(0.5, 0.5 * (1 / alpha - 1), (m, runs)))

    return confident_bets(draw, alpha)


def confident_bets(
    draw: Callable[[np.random.Generator, int], np.ndarray],
    alpha: float,
    groups: Sequence[str] | None = None,
) -> Count:
    """Counts of assert_confident_coverage, of the coverage of images ``(images, runs)``."""
    names = None if groups is None else list(dict.fromkeys(groups))

    def run(coverage: np.ndarray) -> Callable[[float], None]:
        return lambda rate: assert_confident_coverage(
            coverage, alpha=alpha, groups=groups, false_alarm=rate
        )

    def count(runs: int, seed: int) -> list[int]:
        rng = np.random.default_rng(seed)
        alarms = [0] * len(RATES)
        for first in range(0, runs, AT_ONCE):
            coverage = draw(rng, min(AT_ONCE, runs - first))
            losses = by_group(1.0 - coverage, groups)
            losses = losses[betting_order(names or range(len(losses)))]
            for index, rate in enumerate(RATES):
                alarm = betting_pvalue(1.0 - losses, 1 - alpha, aim=rate) <= rate
                for number in range(min(len(alarm), CHECKED - first)):
                    if fails(run(coverage[:, number]), rate) != alarm[number]:
                        raise RuntimeError(f"run {number} at {rate}: the assertion says otherwise")
                alarms[index] += int(alarm.sum())
        return alarms

    return count


def whole_images(m: int, epsilon: float, *, equal: bool) -> Callable[..., Kept]:
    """As correlated as it gets: all that an image keeps is wrong, with probability epsilon."""

    def draw(rng: np.random.Generator, runs: int) -> Kept:
        pixels = kept = np.full((m, runs), PIXELS)
        if not equal:
            pixels = rng.integers(1, PIXELS + 1, (m, runs))
            kept = rng.integers(1, pixels + 1)
        return Kept(pixels, kept, kept * (rng.random((m, runs)) < epsilon))

    return draw


def varying_risks(m: int, epsilon: float) -> Callable[..., Kept]:
    """Some pixels are dropped; of the kept ones a share is wrong that varies around epsilon."""

    def draw(rng: np.random.Generator, runs: int) -> Kept:
        kept = rng.integers(1, PIXELS + 1, (m, runs))
        risks = rng.beta(0.5, 0.5 * (1 / epsilon - 1), (m, runs))
        return Kept(np.full((m, runs), PIXELS), kept, rng.binomial(kept, risks))

    return draw


def promises(runs_each: int, delta: float) -> Count:
    def count(runs: int, seed: int) -> list[int]:
        broken = np.random.default_rng(seed).binomial(runs_each, delta, runs)
        values, times = np.unique(broken, return_counts=True)

        def run(value: int) -> Callable[[float], None]:
            return lambda rate: assert_promise_rate(value, runs_each, delta=delta, false_alarm=rate)

        return [
            int(sum(t for v, t in zip(values.tolist(), times) if fails(run(v), rate)))
            for rate in RATES
        ]

    return count


def excess_precision(
    draw: Callable[[np.random.Generator, int], Kept], epsilon: float, weighting: str
) -> Draw:
    """Broken runs: ``draw`` is wrong more often than the epsilon that is tested."""

    def one(rng: np.random.Generator) -> Callable[[float], None]:
        counts = draw(rng, 1)
        if weighting == "share":
            return lambda rate: assert_precision(counts.run(0), epsilon, false_alarm=rate)
        wrong, kept = counts.wrong[:, 0], counts.kept[:, 0]
        return lambda rate: assert_image_precision(wrong, kept, epsilon=epsilon, false_alarm=rate)

    return one


HONEST: list[tuple[str, str, Count]] = [
    ("assert_point_coverage", "500 and 2000 points", one_by_one(points(500, 2000))),
    ("assert_point_coverage", "20 and 5 points", one_by_one(points(20, 5))),
    ("assert_point_coverage", "100 runs of 20 and 50", one_by_one(repeated_points(20, 100))),
    ("assert_threshold_rule", "50 runs, n = 20", one_by_one(rule(corrected, 20, runs=50))),
    ("assert_promise_rate", "1000 runs, delta 0.1", promises(1000, 0.1)),
    ("assert_image_wise_coverage", "92 and 245 images, tau 0.9", one_by_one(image_wise(92, 245))),
    *(
        (name, f"{n} and {m} images, {'equal' if equal else 'unequal'} sizes", one_by_one(draw))
        for name, known in (
            ("assert_image_coverage", False),
            ("assert_exchangeable_coverage", True),
        )
        for n, m, equal in ((20, 5, True), (20, 100, False), (92, 245, True), (92, 245, False))
        for draw in (image_level(n, m, known=name != "assert_image_coverage", equal=equal),)
    ),
    (
        "assert_exchangeable_coverage",
        "92 and 245 images, sorted by coverage",
        one_by_one(image_level(92, 245, known=True, in_order=True)),
    ),
    *(
        (
            "assert_coverage",
            f"92 and 100 images of unequal sizes, pixels, calibration images {known}",
            one_by_one(evaluated(92, 100, known=known == "known")),
        )
        for known in ("known", "unknown")
    ),
    *(
        (name, f"{m} images{details}, epsilon {epsilon:g}", bets(draw, epsilon, weighting))
        for m, epsilon in ((5, 0.3), (20, 0.1), (93, 0.1), (245, 0.05), (300, 0.1), (780, 0.1))
        for name, weighting in (("assert_precision", "share"), ("assert_image_precision", "macro"))
        for details, draw in (
            ("", whole_images(m, epsilon, equal=True)),
            (" of unequal sizes", whole_images(m, epsilon, equal=False)),
        )
    ),
    *(
        ("assert_image_precision", f"{m} images, risks vary, epsilon 0.1", varying)
        for m in (5, 245)
        for varying in (bets(varying_risks(m, ALPHA), ALPHA, "macro"),)
    ),
    ("assert_threshold", "92 points", one_by_one(one_threshold(corrected, 92))),
    *(
        (
            "assert_confident_coverage",
            f"{m} images, {'missed whole' if equal else 'missed in part'}, alpha {alpha:g}",
            confident(m, alpha, equal=equal),
        )
        for m, alpha in ((5, 0.3), (20, 0.1), (92, 0.1), (245, 0.05), (780, 0.1))
        for equal in (True, False)
    ),
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
    (
        "twice epsilon wrong",
        "assert_image_precision, 245",
        excess_precision(varying_risks(245, 2 * ALPHA), ALPHA, "macro"),
    ),
    (
        "twice epsilon wrong, whole images at once",
        "assert_precision, 245",
        excess_precision(whole_images(245, 2 * ALPHA, equal=True), ALPHA, "share"),
    ),
    ("no (n + 1) correction, n = 92", "assert_threshold, one run", one_threshold(uncorrected, 92)),
    ("interpolation, n = 92", "assert_threshold, one run", one_threshold(interpolated, 92)),
    ("clamped threshold, n = 8", "assert_threshold, one run", one_threshold(clamped, 8)),
]


if __name__ == "__main__":
    main()
