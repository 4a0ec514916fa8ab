"""How often the assertions of conformal_plugin.testing fail a sound calibration of groups.

    python benchmarks/false_alarms_grouped.py [--runs 30000] [--seed 0] [--only PART]

As `false_alarms.py`, whose columns these are, with images that are alike within a group: what goes
wrong goes wrong in all images of a group at once. Groups are of unequal sizes where nothing else is
said.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from alarm_draws import ALPHA, CORRELATION, PIXELS, Draw, evaluation_of, of_pixels
from false_alarms import Count, Kept, bets, confident_bets, honest, one_by_one
from scipy.special import ndtr

from conformal_plugin.calibration import conformal_rank
from conformal_plugin.testing import (
    assert_coverage,
    assert_exchangeable_coverage,
    assert_image_coverage,
    assert_image_wise_coverage,
)

TAU = 0.9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=30_000, help="honest runs of each case")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="cases whose name or data holds this text")
    arguments = parser.parse_args()
    honest(HONEST, arguments.runs, arguments.seed, arguments.only)


def alike(rng: np.random.Generator, groups: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The group of each image, and scores ``(images, PIXELS)`` that its images have in common."""
    group = np.repeat(np.arange(groups), rng.integers(1, most + 1, groups))
    of_group = rng.standard_normal(groups)[group][:, None]
    own = rng.standard_normal((len(group), PIXELS))
    return group, ndtr(np.sqrt(CORRELATION) * of_group + np.sqrt(1 - CORRELATION) * own)


def smallest(values: np.ndarray, weights: np.ndarray, n: int) -> float:
    """The smallest threshold beyond which at most ``ALPHA (n + 1) - 1`` of all weight lies."""
    order = np.argsort(-values, axis=None)
    beyond = np.cumsum(weights.ravel()[order])
    at = np.searchsorted(beyond, ALPHA * (n + 1) - 1 + 1e-9, side="right")
    return float(values.ravel()[order[at]])


def named(group: np.ndarray) -> list[str]:
    return [f"g{g}" for g in group]


def image_level(n: int, m: int, *, known: bool, most: int = 6) -> Draw:
    """Image-level risk control of groups of one to ``most`` images."""

    def draw(rng: np.random.Generator) -> Callable[[float], None]:
        group, scores = alike(rng, n + m, most)
        weights = np.repeat(1 / np.bincount(group)[group] / PIXELS, PIXELS).reshape(scores.shape)
        ours = group < n
        threshold = smallest(scores[ours], weights[ours], n)
        covered = (scores <= threshold).mean(axis=1)
        if known:
            return lambda rate: assert_exchangeable_coverage(
                covered[~ours],
                covered[ours],
                alpha=ALPHA,
                groups=named(group[~ours]),
                calibration_groups=named(group[ours]),
                false_alarm=rate,
            )
        return lambda rate: assert_image_coverage(
            covered[~ours],
            n_calibration=n,
            alpha=ALPHA,
            groups=named(group[~ours]),
            false_alarm=rate,
        )

    return draw


def image_wise(n: int, m: int, most: int = 6) -> Draw:
    """The image-wise quantile of groups of one to ``most`` images."""

    def draw(rng: np.random.Generator) -> Callable[[float], None]:
        group, scores = alike(rng, n + m, most)
        needed = np.sort(scores)[:, int(np.ceil(TAU * PIXELS - 1e-9)) - 1]
        ours = group < n
        threshold = smallest(needed[ours], 1 / np.bincount(group)[group][ours], n)
        coverage = (scores[~ours] <= threshold).mean(axis=1)
        return lambda rate: assert_image_wise_coverage(
            coverage,
            n_calibration=n,
            alpha=ALPHA,
            tau=TAU,
            groups=named(group[~ours]),
            false_alarm=rate,
        )

    return draw


def pixels(n: int, m: int, *, known: bool, most: int = 6) -> Draw:
    """The paper's threshold on the pooled pixels of groups of one to ``most`` images."""

    def draw(rng: np.random.Generator) -> Callable[[float], None]:
        group, scores = alike(rng, n + m, most)
        ours = group < n
        pooled = np.sort(scores[ours], axis=None)
        threshold = pooled[conformal_rank(len(pooled), ALPHA) - 1]
        hits, sizes = (scores <= threshold).sum(axis=1), np.full(len(group), PIXELS)
        calibration = of_pixels(float(threshold), len(pooled), int(ours.sum()), groups=n)
        own, test = (evaluation_of(sizes[part], hits[part]) for part in (ours, ~ours))
        more = (
            {"calibration_evaluation": own, "calibration_groups": named(group[ours])}
            if known
            else {"largest_image": most * PIXELS}
        )
        return lambda rate: assert_coverage(
            test, calibration, groups=named(group[~ours]), false_alarm=rate, **more
        )

    return draw


def wrong_together(m: int, epsilon: float, weighting: str, most: int = 7) -> Count:
    """All that the images of a group keep is wrong, with probability epsilon."""
    groups = named(np.repeat(np.arange(m), np.random.default_rng(0).integers(1, most + 1, m)))

    def draw(rng: np.random.Generator, runs: int) -> Kept:
        shape = (len(groups), runs)
        measured = rng.integers(1, PIXELS + 1, shape)
        kept = rng.integers(1, measured + 1)
        wrong = in_groups(rng.random((m, runs)) < epsilon, groups)
        return Kept(measured, kept, kept * wrong)

    return bets(draw, epsilon, weighting, groups)


def missed_together(m: int, sizes: np.ndarray) -> Count:
    """All images of a group are missed whole, with probability alpha."""
    groups = named(np.repeat(np.arange(m), sizes))

    def draw(rng: np.random.Generator, runs: int) -> np.ndarray:
        return 1.0 - in_groups(rng.random((m, runs)) < ALPHA, groups)

    return confident_bets(draw, ALPHA, groups)


def in_groups(of_group: np.ndarray, groups: list[str]) -> np.ndarray:
    """A row for each image, from a row for each group in their order."""
    place = {name: row for row, name in enumerate(dict.fromkeys(groups))}
    return of_group[[place[name] for name in groups]]


SIX, SEVEN = "of one to six images", "of one to seven images"

HONEST: list[tuple[str, str, Count]] = [
    *(
        (
            f"assert_{'exchangeable' if known else 'image'}_coverage",
            f"20 and 30 groups {SIX}",
            one_by_one(image_level(20, 30, known=known)),
        )
        for known in (False, True)
    ),
    ("assert_image_wise_coverage", f"20 and 30 groups {SIX}", one_by_one(image_wise(20, 30))),
    *(
        (name, f"{m} groups {SEVEN}, epsilon {epsilon:g}", wrong_together(m, epsilon, weighting))
        for m, epsilon in ((40, 0.1), (5, 0.3))
        for name, weighting in (("assert_precision", "share"), ("assert_image_precision", "macro"))
    ),
    *(
        ("assert_confident_coverage", f"40 groups {data}", missed_together(40, sizes))
        for data, sizes in (
            ("of four images", np.full(40, 4)),
            (SEVEN, np.random.default_rng(0).integers(1, 8, 40)),
        )
    ),
    *(
        (
            "assert_coverage",
            f"20 and 30 groups {SIX}, pixels, calibration groups {'' if known else 'un'}known",
            one_by_one(pixels(20, 30, known=known)),
        )
        for known in (False, True)
    ),
]


if __name__ == "__main__":
    main()
