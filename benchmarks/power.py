"""How many test images it takes until an assertion sees a fault, on real photos.

    python benchmarks/power.py --data ../shared/data [--draws 40]

Each draw calibrates soundly on 92 images of a bed, makes one mistake with the test images, and asks
each assertion at a false-alarm rate of 1e-3: of the coverage of image level at alpha .1, with the
calibration images' coverage at hand (`assert_exchangeable_coverage`) and without
(`assert_image_coverage`); of `calibrate_with_confidence` at the same alpha
(`assert_confident_coverage`); and of `calibrate_precision` at epsilon .1 (`assert_precision`).
Printed is the smallest number of test images with which nine of ten draws are caught, and how much
lower the mean coverage of image level is under the fault. p-values are the assertions' own.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from draws import BEDS, LEVELS, Bed, read, rounded

from conformal_plugin.betting import betting_order, betting_pvalue
from conformal_plugin.calibration import exact_alpha
from conformal_plugin.calibration._place_credits import PLACES
from conformal_plugin.precision import PrecisionCalibrator, PrecisionTarget
from conformal_plugin.precision._path_counts import PathCounts
from conformal_plugin.testing._bets import high_losses_pvalue
from conformal_plugin.testing._exchangeability import (
    seed_of_bag,
    split_p_value,
    threshold_p_value,
)
from conformal_plugin.testing._images import image_level_target

ALPHA = EPSILON = DELTA = 0.1
RATE = 1e-3
CALIBRATION = 92
TEST_IMAGES = (10, 20, 50, 100, 200, 400)
CAUGHT = 0.9
IGNORED = 255
ASSERTIONS = (
    "assert_exchangeable_coverage",
    "assert_image_coverage",
    "assert_confident_coverage",
    "assert_precision",
)

Pair = tuple[np.ndarray, np.ndarray]
Fault = Callable[[np.ndarray, np.ndarray], Pair]
"""Scores ``(K, H, W)`` and labels as they are, to what is measured by mistake."""


def shifted(pixels: int) -> Fault:
    def fault(scores: np.ndarray, labels: np.ndarray) -> Pair:
        return scores, np.roll(labels, pixels, axis=1)

    return fault


def next_class(scores: np.ndarray, labels: np.ndarray) -> Pair:
    return scores, np.where(labels == IGNORED, labels, (labels + 1) % len(scores))


def interpolated(scores: np.ndarray, labels: np.ndarray) -> Pair:
    """Label numbers averaged over two by two pixels, as a resize with interpolation does."""
    mean = labels.astype(float)
    mean = (mean + np.roll(mean, 1, axis=0)) / 2
    mean = np.round((mean + np.roll(mean, 1, axis=1)) / 2).astype(labels.dtype)
    known = mean < len(scores)
    return scores, np.where(known, mean, IGNORED).astype(labels.dtype)


def swapped(one: int, other: int) -> Fault:
    """The annotator's list of classes has two in each other's place."""

    def fault(scores: np.ndarray, labels: np.ndarray) -> Pair:
        order = np.arange(len(scores))
        order[[one, other]] = other, one
        return scores[order], labels

    return fault


def less_sure(scores: np.ndarray, labels: np.ndarray) -> Pair:
    """The annotator runs at another temperature: the square roots of its scores, normalised."""
    root = np.sqrt(scores.astype(np.float32))
    return root / np.maximum(root.sum(axis=0, keepdims=True), 1e-6), labels


def more_object(scores: np.ndarray, labels: np.ndarray) -> Pair:
    """Another annotator, which gives the background a tenth of the odds."""
    maps = scores.astype(np.float32)
    maps[0] /= 10
    return maps / np.maximum(maps.sum(axis=0, keepdims=True), 1e-6), labels


def sound(scores: np.ndarray, labels: np.ndarray) -> Pair:
    return scores, labels


VOC = {
    "none": sound,
    "labels one pixel off": shifted(1),
    "labels eight pixels off": shifted(8),
    "labels resized with interpolation": interpolated,
    "labels one class off": next_class,
    "person and dog swapped": swapped(15, 12),
    "scores of another temperature": less_sure,
    "an annotator that over-calls objects": more_object,
}
DRIVES = ("0016E5",)
"""What is calibrated on, of the street frames; the others are another domain."""


@dataclass(frozen=True)
class Measured:
    """What is counted of images under a fault, one row each, in the order of ``ids``."""

    covered: np.ndarray  # (images, LEVELS + 1), shares
    counts: PathCounts


@dataclass(frozen=True)
class Photos:
    ids: list[str]
    calibrator: PrecisionCalibrator
    own: Measured
    under: dict[str, Measured]


def measured(data: Path, bed: Bed, faults: dict[str, Fault]) -> Photos:
    ids, one = read(data, bed)
    calibrators = {name: PrecisionCalibrator(rule=bed.rule) for name in faults}
    covered: dict[str, list[np.ndarray]] = {name: [] for name in faults}
    for name in ids:
        scores, labels = one(name)
        for fault, function in faults.items():
            maps, truth = function(scores, labels)
            calibrators[fault].update(maps, truth, ids=[name])
            used = truth != IGNORED
            true = np.take_along_axis(rounded(maps), np.where(used, truth, 0)[None], axis=0)[0]
            missed = np.round((1 - true[used]) * LEVELS).astype(int)
            curve = np.cumsum(np.bincount(missed, minlength=LEVELS + 1))
            covered[fault].append(curve / curve[-1])
    under = {}
    for fault, calibrator in calibrators.items():
        counts = calibrator.counts()
        row = {name: i for i, name in enumerate(counts.ids)}
        under[fault] = Measured(np.array(covered[fault]), counts.taken([row[i] for i in ids]))
    return Photos(ids, calibrators["none"], under["none"], under)


class Draw:
    """A sound calibration on some images, and p-values of each assertion on others."""

    def __init__(self, photos: Photos, chosen: np.ndarray) -> None:
        self.photos = photos
        covered = photos.own.covered
        needed = float((len(chosen) + 1) * (1 - exact_alpha(ALPHA)))
        self.step = int(np.searchsorted(covered[chosen].sum(axis=0), needed - 1e-9))
        self.own = 1 - covered[chosen, self.step]
        order = chosen[betting_order([photos.ids[i] for i in chosen])]
        losses = (1 - covered[order][:, np.floor(PLACES * LEVELS).astype(int)]).clip(0, 1)
        failed = betting_pvalue(losses, ALPHA, aim=DELTA) > DELTA
        self.confident = int(PLACES[int(failed.argmax()) - 1] * LEVELS)
        self.path = photos.calibrator.path
        self.target = PrecisionTarget(EPSILON, DELTA)
        by_id = photos.own.counts.taken(order.tolist())
        self.place = self.target.certified(by_id, self.path)

    def p_values(self, seen: Measured, test: np.ndarray) -> Iterator[float]:
        losses = (1 - seen.covered[test, self.step]).clip(0, 1)
        n, target = len(self.own), image_level_target(len(self.own), ALPHA)
        seed = seed_of_bag(self.own, losses)
        yield split_p_value(self.own, losses, target, RATE, seed)
        yield threshold_p_value(n, target, len(losses), float(losses.mean()))
        order = test[betting_order(range(len(test)))]
        missed = (1 - seen.covered[order, self.confident]).clip(0, 1)
        yield high_losses_pvalue(missed, ALPHA, RATE)
        if self.place is None:
            yield 1.0
            return
        wrong = self.target.losses(seen.counts.taken(order.tolist()), self.path)[:, self.place]
        yield high_losses_pvalue(wrong, EPSILON, RATE)


def needed(
    photos: Photos,
    fault: str,
    pools: tuple[np.ndarray, np.ndarray],
    draws: int,
    seed: int,
) -> str:
    """The row of a fault: test images needed by each assertion, and what it does."""
    seen, (ours, theirs) = photos.under[fault], pools
    rng = np.random.default_rng(seed)
    plans = []
    for _ in range(draws):
        chosen = rng.permutation(ours)[:CALIBRATION]
        plans.append((Draw(photos, chosen), rng.permutation(np.setdiff1d(theirs, chosen))))
    found: dict[str, str] = {}
    for m in TEST_IMAGES:
        if len(found) == len(ASSERTIONS) or any(len(test) < m for _, test in plans):
            break
        alarms = np.array([[p <= RATE for p in d.p_values(seen, test[:m])] for d, test in plans])
        for name, share in zip(ASSERTIONS, alarms.mean(axis=0)):
            if share >= CAUGHT:
                found.setdefault(name, str(m))
        last = m
    drop = np.mean(
        [photos.own.covered[ours, d.step].mean() - seen.covered[t, d.step].mean() for d, t in plans]
    )
    cells = [found.get(name, f"> {last}") for name in ASSERTIONS]
    return " | ".join([f"{drop:.3f}", *cells])


def tables(data: Path, draws: int, seed: int) -> Iterator[str]:
    yield f"{draws} draws of {CALIBRATION} calibration images, rate {RATE:g}\n"
    yield "| photos | fault | coverage lost | " + " | ".join(ASSERTIONS) + " |"
    yield "| --- " * 7 + "|"
    voc = next(bed for bed in BEDS if bed.name == "voc-animals, train")
    voc = Bed("VOC", voc.folder, ("labeled", "unlabeled", "test"), voc.transform, voc.rule, ())
    photos = measured(data, voc, VOC)
    everyone = np.arange(len(photos.ids))
    for fault in VOC:
        yield f"| VOC | {fault} | {needed(photos, fault, (everyone, everyone), draws, seed)} |"
    street = next(bed for bed in BEDS if bed.name == "driving")
    photos = measured(data, street, {"none": sound})
    at = np.array([name.startswith(DRIVES) for name in photos.ids])
    ours, theirs = np.flatnonzero(at), np.flatnonzero(~at)
    figures = needed(photos, "none", (ours, theirs), draws, seed)
    yield f"| street | frames of other drives | {figures} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for line in tables(options.data, options.draws, options.seed):
        print(line, flush=True)


if __name__ == "__main__":
    main()
