"""Precision control on real photos: what is certified, what it keeps, how often it breaks its word.

One command, about four minutes on one core::

    python benchmarks/precision_control.py --data ../shared/data/voc-animals

The first table calibrates on the published 92 labelled photos and measures on the 345 unlabelled
and the 245 test photos. The second repeats it over random splits of the 437 training photos into 92
and 345. "breaks" is the share of splits in which the kept labels of the other 345 are wrong more
often than epsilon; those 345 are what is left of a finite set, so that a lucky calibration set
means unlucky remaining ones, and the rate may exceed the rate over fresh photos. "breaks (all)"
takes the risk over all 437 instead. The third table does the same with the 245 test photos, split
into 92 and 153: they took no part in choosing the default path, which the 437 did.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from conformal_plugin.precision import PrecisionCalibrator, PrecisionTarget, ThresholdPath
from conformal_plugin.precision._path_counts import PathCounts

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
from score_forms import seem_like

SPLITS = ("labeled_92", "unlabeled_345", "test_245")
LONGEST_SIDE = 256
EPSILONS = (0.05, 0.10)
DELTA = 0.1


def normalised(probs: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return probs


SCORES: dict[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]] = {
    "normalised": normalised,
    "SEEM-like": seem_like,
}

GRID = np.arange(200) / 200
PATHS = {
    "plain": ThresholdPath.plain(GRID),
    "four starts": ThresholdPath(GRID, GRID, starts=(0, 20, 50, 100), shares=(0.25,) * 4),
    "one threshold": ThresholdPath.one_threshold(),
    "apart": ThresholdPath.foreground_first(),
    "capped": ThresholdPath.capped_foreground_first(),
}
SHARED_COUNTS = {"four starts": "plain"}
"""Paths with the places of another differ in their starts alone and use its counts."""


def textbook_bets(losses: np.ndarray[Any, Any], epsilon: float, delta: float) -> Any:
    """p-values by the predictable plug-in of Waudby-Smith and Ramdas (arXiv 2010.09686)."""
    n, places = losses.shape
    total, squares = np.full(places, 0.5), np.full(places, 0.25)
    capital, highest = np.zeros(places), np.zeros(places)
    for t, loss in enumerate(losses):
        bet = np.minimum(1.0, np.sqrt(2 * np.log(1 / delta) / (n * squares / (t + 1))))
        capital += np.log1p(-bet * (loss - epsilon))
        highest = np.maximum(highest, capital)
        total += loss
        squares += (loss - total / (t + 2)) ** 2
    return np.exp(-highest)


@dataclass(frozen=True)
class Method:
    """One row of the tables."""

    name: str
    path: str
    weighting: str
    test: str = "betting"

    def target(self, epsilon: float) -> PrecisionTarget:
        bound = LONGEST_SIDE**2 if self.weighting == "pixel" else None
        test = "betting" if self.test == "textbook" else self.test
        return PrecisionTarget(epsilon, DELTA, self.weighting, bound, test)

    def certified(self, counts: PathCounts, epsilon: float) -> int | None:
        path, target = PATHS[self.path], self.target(epsilon)
        if self.test != "textbook":
            return target.certified(counts, path)
        pvalues = textbook_bets(target.losses(counts, path), epsilon, DELTA)
        return max(np.flatnonzero(path.certified(pvalues, DELTA)), default=None)


METHODS = (
    Method("plain sequence, textbook bets", "plain", "macro", "textbook"),
    Method("plain sequence, Hoeffding-Bentkus", "plain", "macro", "hoeffding-bentkus"),
    Method("plain sequence, our bets", "plain", "macro"),
    Method("background apart, our bets", "apart", "macro"),
    Method("plain sequence, textbook bets", "plain", "share", "textbook"),
    Method("plain sequence, our bets", "plain", "share"),
    Method("four equal starts, our bets", "four starts", "share"),
    Method("one threshold, its starts, our bets", "one threshold", "share"),
    Method("background apart, Hoeffding-Bentkus", "apart", "share", "hoeffding-bentkus"),
    Method("background apart, textbook bets", "apart", "share", "textbook"),
    Method("background apart, our bets, no cap", "apart", "share"),
    Method("background apart and caps, our bets (default)", "capped", "share"),
    Method("plain sequence, our bets", "plain", "pixel"),
    Method("background apart, our bets", "apart", "pixel"),
)


def risk(counts: PathCounts, weighting: str) -> np.ndarray[Any, Any]:
    """At each place, the share of kept labels that are wrong; 0 where nothing is kept."""
    if weighting == "macro":
        return np.asarray((counts.wrong / np.maximum(counts.kept, 1)).mean(axis=0))
    size = counts.pixels[:, None] if weighting == "share" else 1
    wrong, kept = (counts.wrong / size).sum(axis=0), (counts.kept / size).sum(axis=0)
    return np.asarray(wrong / np.maximum(kept, 1e-12))


def kept_share(counts: PathCounts) -> np.ndarray[Any, Any]:
    return np.asarray(counts.kept.sum(axis=0) / counts.pixels.sum())


def read_ids(data: Path, split: str) -> list[str]:
    return (data / "splits" / f"{split}.txt").read_text(encoding="utf-8").split()


def count(data: Path) -> dict[tuple[str, str], PathCounts]:
    """The counts of all photos for each kind of scores and path, one reading of each file."""
    ids = [name for split in SPLITS for name in read_ids(data, split)]
    calibrators = {
        (kind, name): PrecisionCalibrator(path=path)
        for kind in SCORES
        for name, path in PATHS.items()
        if name not in SHARED_COUNTS
    }
    for name in ids:
        with np.load(data / "probs" / f"{name}.npz") as archive:
            probs = archive["probs"]
        labels = np.array(Image.open(data / "labels" / f"{name}.png"))
        for kind, transform in SCORES.items():
            scores = transform(probs)
            for (other, _), calibrator in calibrators.items():
                if other == kind:
                    calibrator.update(scores, labels, ids=[name])
    counts = {key: calibrator.counts() for key, calibrator in calibrators.items()}
    shared = {(k, name): counts[k, other] for k in SCORES for name, other in SHARED_COUNTS.items()}
    return counts | shared


def published(data: Path, counts: dict[tuple[str, str], PathCounts]) -> Iterator[str]:
    yield (
        f"{'scores':11s} eps  {'method':37s} {'weights':7s} background foreground   "
        f"345: wrong  kept   245: wrong  kept"
    )
    for kind in SCORES:
        for epsilon in EPSILONS:
            for method in METHODS:
                row = f"{kind:11s} {epsilon:.2f} {method.name:37s} {method.weighting:7s} "
                parts = [counts[kind, method.path].subset(read_ids(data, s)) for s in SPLITS]
                yield row + thresholds_and_worth(method, parts, epsilon)


def thresholds_and_worth(method: Method, parts: list[PathCounts], epsilon: float) -> str:
    """What calibrating on the first part certifies, and what that gives on the others."""
    path = PATHS[method.path]
    place = method.certified(parts[0], epsilon)
    if place is None:
        if method.test == "textbook":
            return "keeps nothing"
        smallest = method.target(epsilon).smallest_epsilon(parts[0], path)
        return f"keeps nothing, smallest epsilon {smallest}"
    measured = "   ".join(
        f"{risk(part, method.weighting)[place]:10.4f} {kept_share(part)[place]:5.3f}"
        for part in parts[1:]
    )
    return f"{path.background[place]:10.5f} {path.foreground[place]:10.5f}   {measured}"


def repeated(
    ids: list[str], counts: dict[tuple[str, str], PathCounts], splits: int, seed: int
) -> Iterator[str]:
    """Random splits of these photos into 92 for calibration and the others to measure on."""
    yield (
        f"{'scores':11s} eps  {'method':37s} {'weights':7s} breaks  breaks (all)  kept   "
        f"keeps nothing"
    )
    for kind in SCORES:
        for epsilon in EPSILONS:
            for method in METHODS:
                figures = np.array(list(outcomes(ids, counts, method, kind, epsilon, splits, seed)))
                broken, wrong, kept, nothing = figures.mean(axis=0)
                yield (
                    f"{kind:11s} {epsilon:.2f} {method.name:37s} {method.weighting:7s} "
                    f"{broken:6.3f}  {wrong:12.3f}  {kept:.3f}  {nothing:6.3f}"
                )


def outcomes(
    ids: list[str],
    counts: dict[tuple[str, str], PathCounts],
    method: Method,
    kind: str,
    epsilon: float,
    splits: int,
    seed: int,
) -> Iterator[tuple[float, float, float, float]]:
    """Of each split: promise broken on the others, on all; kept share; whether nothing is kept."""
    rng = np.random.default_rng(seed)
    everything = counts[kind, method.path].subset(ids)
    everywhere = risk(everything, method.weighting)
    for _ in range(splits):
        order = [ids[i] for i in rng.permutation(len(ids))]
        place = method.certified(everything.subset(order[:92]), epsilon)
        if place is None:
            yield 0.0, 0.0, 0.0, 1.0
            continue
        others = everything.subset(order[92:])
        broken = risk(others, method.weighting)[place] > epsilon
        yield float(broken), float(everywhere[place] > epsilon), kept_share(others)[place], 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/voc-animals"))
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    counts = count(options.data)
    print(f"Calibrating on the published 92, delta {DELTA}\n")
    for line in published(options.data, counts):
        print(line, flush=True)
    labelled, unlabelled, test = (read_ids(options.data, split) for split in SPLITS)
    for ids in (sorted(labelled + unlabelled), sorted(test)):
        rest = len(ids) - 92
        print(f"\n{options.splits} random splits of {len(ids)} into 92 and {rest}, delta {DELTA}\n")
        for line in repeated(ids, counts, options.splits, options.seed):
            print(line, flush=True)


if __name__ == "__main__":
    main()
