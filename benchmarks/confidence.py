"""Promises per image over many draws: what it costs to be promised this calibration's coverage.

    python benchmarks/confidence.py --data ../shared/data [--draws 1000] [--beds NAME ...]

Every draw takes n images of a bed for calibration; all images of the bed are the population.
Image level promises an expected coverage of 1 - alpha over draws, calibrate_with_confidence one of
at least 1 - alpha in this population in all but a share delta of the draws. "Covered": the mean
over draws of the population's coverage; "below": the number of draws in which it is under
1 - alpha; "refused": the share of draws with a threshold of 1 or more; "classes" and "one": mean
size of a pixel's prediction set and share of pixels whose set has one class, over draws that are
not refused. The second table is image-wise's: the share of the other images of which at least a
share tau is covered, which is promised to be 1 - alpha on average over draws.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.stats
from draws import BEDS, LEVELS, Bed, read, rounded

from conformal_plugin.betting import betting_order, betting_pvalue
from conformal_plugin.calibration import (
    calibrate_image_level,
    calibrate_image_wise,
    calibrate_with_confidence,
    conformal_rank,
    exact_alpha,
)
from conformal_plugin.calibration._place_credits import PLACES

DELTA = 0.1
TAU = 0.9
ALPHAS = (0.05, 0.1)
NAMED = {
    "voc-train": "voc-animals, train",
    "voc-test": "voc-animals, test",
    "polyps-test": "polyps, test",
    "driving": "driving",
}


@dataclass(frozen=True)
class Curves:
    """Shares of each image's labelled pixels, ``(images, LEVELS + 1)``, by the threshold's step.

    Attributes:
        ids: of the images.
        covered: whose true class is in the set.
        classes: mean size of the set.
        one: whose set has one class.
    """

    ids: list[str]
    covered: np.ndarray
    classes: np.ndarray
    one: np.ndarray

    def at(self, curve: np.ndarray, step: int) -> float:
        """The mean of a curve over the images, each counting alike."""
        return float(curve[:, min(step, LEVELS)].mean())


def curves_of(data: Path, bed: Bed) -> Curves:
    ids, one = read(data, bed)
    rows = []
    for name in ids:
        scores, labels = one(name)
        used = labels != 255
        steps = np.round((1 - rounded(scores)[:, used]) * LEVELS).astype(int)
        true = np.take_along_axis(steps, labels[used][None].astype(int), axis=0)
        ordered = np.partition(steps, 1, axis=0)
        best, second = (below(ordered[i]) for i in (0, 1))
        rows.append(np.stack([below(true), below(steps), best - second]) / used.sum())
    covered, classes, alone = np.stack(rows, axis=1)
    return Curves(ids, covered, classes, alone)


def below(steps: np.ndarray) -> np.ndarray:
    """How many steps are at most each step."""
    return np.cumsum(np.bincount(steps.ravel(), minlength=LEVELS + 1)).astype(float)


def image_level(curves: Curves, chosen: np.ndarray, alpha: float) -> float:
    needed = float((len(chosen) + 1) * (1 - exact_alpha(alpha)))
    step = int(np.searchsorted(curves.covered[chosen].sum(axis=0), needed - 1e-9))
    return step / LEVELS if step <= LEVELS else math.inf


def confident(curves: Curves, chosen: np.ndarray, alpha: float) -> float:
    order = chosen[betting_order([curves.ids[i] for i in chosen])]
    losses = 1 - curves.covered[order][:, np.floor(PLACES * LEVELS).astype(int)]
    failed = betting_pvalue(losses.clip(0, 1), alpha, aim=DELTA) > DELTA
    last = int(failed.argmax()) if failed.any() else len(PLACES)
    return float(PLACES[last - 1]) if last else math.inf


def check_against_the_library(data: Path, bed: Bed, curves: Curves) -> None:
    _, one = read(data, bed)
    chosen = np.arange(50)
    ids = [curves.ids[i] for i in chosen]
    images = [one(name) for name in ids]
    scores, labels = [rounded(s) for s, _ in images], [y for _, y in images]
    for here, function in (
        (image_level, calibrate_image_level),
        (confident, calibrate_with_confidence),
    ):
        qhat = function(scores, labels, 0.1, ids=ids).qhat
        if qhat != here(curves, chosen, 0.1):
            raise RuntimeError(f"{bed.name}: q-hat {qhat} of {function.__name__}, here another")
    qhat = calibrate_image_wise(scores, labels, 0.1, TAU).qhat
    steps = np.sort((curves.covered[chosen] < TAU - 1e-9).sum(axis=1))
    if qhat != steps[conformal_rank(len(chosen), 0.1) - 1] / LEVELS:
        raise RuntimeError(f"{bed.name}: q-hat {qhat} of calibrate_image_wise, here another")


def row(curves: Curves, n: int, alpha: float, draws: int, seed: int) -> str:
    rng = np.random.default_rng(seed)
    found: dict[str, list[tuple[float, ...]]] = {"image level": [], "confidence": []}
    for _ in range(draws):
        chosen = rng.permutation(len(curves.ids))[:n]
        for way, function in (("image level", image_level), ("confidence", confident)):
            qhat = function(curves, chosen, alpha)
            step = LEVELS if qhat >= 1 else math.floor(qhat * LEVELS)
            three = (curves.at(c, step) for c in (curves.covered, curves.classes, curves.one))
            found[way].append((*three, qhat >= 1))
    cells = []
    for table in map(np.array, found.values()):
        useful = table[table[:, 3] == 0]
        below_target = int((table[:, 0] < 1 - alpha - 1e-9).sum())
        sizes = [f"{useful[:, i].mean():.2f}" if len(useful) else "-" for i in (1, 2)]
        cells += [f"{table[:, 0].mean():.4f}", str(below_target), f"{table[:, 3].mean():.2f}"]
        cells += sizes
    return " | ".join(cells)


def image_wise(curves: Curves, n: int, alpha: float, draws: int, seed: int) -> str:
    rng = np.random.default_rng(seed)
    steps = (curves.covered < TAU - 1e-9).sum(axis=1)  # at which an image is covered to tau
    rank = conformal_rank(n, alpha)
    shares, refused = [], 0
    for _ in range(draws):
        order = rng.permutation(len(steps))
        step = np.sort(steps[order[:n]])[rank - 1] if rank <= n else LEVELS
        shares.append(float((steps[order[n:]] <= step).mean()))
        refused += int(step >= LEVELS)
    error = np.std(shares) / math.sqrt(draws)
    return f"{np.mean(shares):.4f} ± {error:.4f} | {np.std(shares):.3f} | {refused / draws:.2f}"


def tables(data: Path, names: list[str], draws: int, seed: int) -> Iterator[str]:
    yield f"delta {DELTA}, {draws} draws\n"
    heads = ["covered", "below", "refused", "classes", "one"]
    columns = [f"{way}: {heads[0]}" for way in ("image level", "confidence")]
    yield (
        "| photos | n | alpha | "
        + " | ".join(" | ".join([column, *heads[1:]]) for column in columns)
        + " |"
    )
    yield "| --- " * 13 + "|"
    of_beds = []
    for name in names:
        bed = next(bed for bed in BEDS if bed.name == NAMED[name])
        curves = curves_of(data, bed)
        check_against_the_library(data, bed, curves)
        of_beds.append((bed, curves))
        for n in (50, 92):
            for alpha in ALPHAS:
                figures = row(curves, n, alpha, draws, seed)
                yield f"| {bed.name} | {n} | {alpha:g} | {figures} |"
    most = int(scipy.stats.binom.isf(1e-3, draws, DELTA))
    yield f"\na promise broken with probability {DELTA} breaks in at most {most} of {draws} draws"
    yield f"\nimage-wise, tau {TAU}\n\n| photos | n | alpha | images covered | spread | refused |"
    yield "| --- " * 6 + "|"
    for bed, curves in of_beds:
        for n in (20, 50, 92):
            for alpha in ALPHAS:
                figures = image_wise(curves, n, alpha, draws, seed)
                yield f"| {bed.name} | {n} | {alpha:g} | {figures} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--beds", nargs="+", choices=list(NAMED), default=list(NAMED))
    options = parser.parse_args()
    for line in tables(options.data, options.beds, options.draws, options.seed):
        print(line, flush=True)


if __name__ == "__main__":
    main()
