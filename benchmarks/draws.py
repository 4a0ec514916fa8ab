"""What a calibration is worth depends on which photos happen to be labelled: many draws of them.

    python benchmarks/draws.py --data ../shared/data [--draws 200] [--seed 0] [--only NAME]

Three beds of real photos, each with an annotator that never saw its labels. Every draw takes n
images for calibration; all others of the bed stand for the population. Coverage first: the pooled
pixel threshold and the image-level one. "Useless" is a threshold of 1 or more, which `filter`
refuses. Then precision at delta 0.1: "nothing" is the share of draws in which no label is kept;
"kept" the mean share of labels kept on the others, nothing counting as 0 (of foreground labels
alone where the promise is about these); "wrong" and "foreground wrong" the share of wrong labels
among those kept there, over draws that keep something, and "p90" what nine of ten draws stay below;
"broken" the number of draws whose kept labels are wrong more often than epsilon where the promise
says that they are not: on all images of the bed, or, of a promise for the unlabelled ones, on all
others; "new 50" the share, among draws that keep the promise, in which it is exceeded on 50 of the
others: the promise is about the population. Broken in more draws than the last line says, a promise
would be false.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.stats
from PIL import Image

from conformal_plugin.calibration import (
    calibrate,
    calibrate_image_level,
    conformal_rank,
    exact_alpha,
)
from conformal_plugin.precision import PrecisionCalibrator, PrecisionTarget, ThresholdPath

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
from score_forms import seem_like

LEVELS = 4096  # steps of a score in the coverage tables; scores are rounded to them
EPSILONS = (0.05, 0.10, 0.15)
DELTA = 0.1
NEW = 50
POPULATION, UNLABELLED = "population", "the others"


def normalised(probs: np.ndarray) -> np.ndarray:
    return probs


@dataclass(frozen=True)
class Bed:
    """One annotator on one set of photos.

    Attributes:
        name: for the tables.
        folder: under ``--data``.
        splits: beginnings of the names of the splits whose images are drawn from.
        transform: from the stored probabilities to scores.
        rule: how labels are picked.
        sizes: numbers of calibration images.
        of: the labels that are promised: ``"all"`` or ``"foreground"``.
    """

    name: str
    folder: str
    splits: tuple[str, ...]
    transform: Callable[[np.ndarray], np.ndarray]
    rule: str
    sizes: tuple[int, ...]
    of: str = "all"


TRAINING, TEST = ("labeled", "unlabeled"), ("test",)
FIRST, PROBABLE = "foreground-first", "most-probable"
MANY = (20, 50, 92)
BEDS = (
    Bed("voc-animals, train", "voc-animals", TRAINING, normalised, FIRST, (50, 92)),
    Bed("the same, SEEM-like", "voc-animals", TRAINING, seem_like, FIRST, (50, 92)),
    Bed("voc-animals, test", "voc-animals", TEST, normalised, FIRST, MANY),
    Bed("the same, SEEM-like", "voc-animals", TEST, seem_like, FIRST, MANY),
    Bed(
        "voc-animals, test, foreground", "voc-animals", TEST, normalised, FIRST, MANY, "foreground"
    ),
    Bed("the same, SEEM-like", "voc-animals", TEST, seem_like, FIRST, MANY, "foreground"),
    Bed("polyps, train", "polyps-kvasir", TRAINING, normalised, FIRST, (50, 92)),
    Bed("polyps, test", "polyps-kvasir", TEST, normalised, FIRST, MANY),
    Bed("the same, SEEM-like", "polyps-kvasir", TEST, seem_like, FIRST, (50, 92)),
    Bed("polyps, test, foreground", "polyps-kvasir", TEST, normalised, FIRST, MANY, "foreground"),
    Bed("polyps, test", "polyps-kvasir", TEST, normalised, PROBABLE, MANY),
    Bed("driving", "driving-camvid", TRAINING + TEST, normalised, PROBABLE, MANY),
)


@dataclass(frozen=True)
class Photos:
    """What is counted of a bed, one row an image, in the order of ``ids``."""

    ids: list[str]
    covered: np.ndarray  # (images, LEVELS + 1), pixels with 1 - P of the true class at most q
    pixels: np.ndarray
    kept: np.ndarray  # (images, places), as are the three below
    wrong: np.ndarray
    kept_foreground: np.ndarray
    wrong_foreground: np.ndarray
    calibrator: PrecisionCalibrator

    def __len__(self) -> int:
        return len(self.ids)


def read(data: Path, bed: Bed) -> tuple[list[str], Callable[[str], tuple[np.ndarray, np.ndarray]]]:
    folder = data / bed.folder
    lists = [p for start in bed.splits for p in sorted((folder / "splits").glob(f"{start}_*.txt"))]
    ids = sorted(name for path in lists for name in path.read_text(encoding="utf-8").split())

    def one(name: str) -> tuple[np.ndarray, np.ndarray]:
        with np.load(folder / "probs" / f"{name}.npz") as archive:
            scores = bed.transform(archive["probs"])
        return scores, np.array(Image.open(folder / "labels" / f"{name}.png"))

    return ids, one


def rounded(scores: np.ndarray) -> np.ndarray:
    return np.round(scores.astype(np.float32) * LEVELS) / LEVELS


def count(data: Path, bed: Bed, path: ThresholdPath | None = None) -> Photos:
    ids, one = read(data, bed)
    calibrator = PrecisionCalibrator(rule=bed.rule, of=bed.of, path=path)
    covered = []
    for name in ids:
        scores, labels = one(name)
        calibrator.update(scores, labels, ids=[name])
        used = labels != 255
        true = np.take_along_axis(rounded(scores), np.where(used, labels, 0)[None], axis=0)[0]
        missed = np.round((1 - true[used]) * LEVELS).astype(int)
        covered.append(np.cumsum(np.bincount(missed, minlength=LEVELS + 1)))
    counts = calibrator.counts()
    row = {name: i for i, name in enumerate(counts.ids)}
    order = [row[name] for name in ids]
    assert counts.kept_foreground is not None
    assert counts.wrong_foreground is not None
    return Photos(
        ids,
        np.array(covered),
        counts.pixels[order],
        *(
            x[order]
            for x in (counts.kept, counts.wrong, counts.kept_foreground, counts.wrong_foreground)
        ),
        calibrator,
    )


def thresholds(photos: Photos, chosen: np.ndarray, alpha: float) -> tuple[int, int]:
    """Steps of the pooled and of the image-level q-hat; beyond the last where it is infinite."""
    total = int(photos.pixels[chosen].sum())
    pooled = photos.covered[chosen].sum(axis=0)
    pixel = int(np.searchsorted(pooled, conformal_rank(total, alpha)))
    shares = (photos.covered[chosen] / photos.pixels[chosen][:, None]).sum(axis=0)
    needed = float((len(chosen) + 1) * (1 - exact_alpha(alpha)))
    return pixel, int(np.searchsorted(shares, needed - 1e-9))


def check_against_the_library(data: Path, bed: Bed, photos: Photos) -> None:
    """The thresholds above are those of calibrate and calibrate_image_level."""
    _, one = read(data, bed)
    chosen = np.arange(20)
    images = [one(photos.ids[i]) for i in chosen]
    scores, labels = [rounded(s) for s, _ in images], [y for _, y in images]
    for step, function in zip(
        thresholds(photos, chosen, 0.1), (calibrate, calibrate_image_level), strict=True
    ):
        qhat = function(scores, labels, 0.1).qhat
        if qhat != step / LEVELS:
            raise RuntimeError(f"{bed.name}: q-hat {qhat} of {function.__name__}, here {step}")


def coverage(photos: Photos, n: int, alpha: float, draws: int, seed: int) -> str:
    rng = np.random.default_rng(seed)
    rows = []
    padded = np.concatenate([photos.covered, photos.covered[:, -1:]], axis=1)
    for _ in range(draws):
        order = rng.permutation(len(photos))
        chosen, others = order[:n], order[n:]
        pixel, image = thresholds(photos, chosen, alpha)
        pooled = padded[others, pixel].sum() / photos.pixels[others].sum()
        mean = (padded[others, image] / photos.pixels[others]).mean()
        rows.append((pooled, mean, pixel >= LEVELS, image >= LEVELS))
    pooled, mean, useless, useless_image = np.mean(rows, axis=0)
    spread, error = np.std(rows, axis=0), np.std(rows, axis=0) / np.sqrt(draws)
    return (
        f"{pooled:.4f} ± {error[0]:.4f} | {spread[0]:.4f} | {useless:.2f} | "
        f"{mean:.4f} ± {error[1]:.4f} | {useless_image:.2f}"
    )


def precision(photos: Photos, n: int, epsilon: float, draws: int, seed: int, about: str) -> str:
    rng = np.random.default_rng(seed)
    counts, path = photos.calibrator.counts(), photos.calibrator.path
    unlabelled = len(photos) - n if about == UNLABELLED else None
    target = PrecisionTarget(epsilon, DELTA, of=photos.calibrator.of, unlabelled_images=unlabelled)
    rows_of = {name: i for i, name in enumerate(counts.ids)}
    sizes = target.sizes(counts, path)[[rows_of[name] for name in photos.ids]]
    everyone = np.arange(len(photos))
    of_all, of_foreground = (
        (photos.wrong, photos.kept),
        (photos.wrong_foreground, photos.kept_foreground),
    )
    promised = of_foreground if photos.calibrator.of == "foreground" else of_all
    rows = []
    for _ in range(draws):
        order = rng.permutation(len(photos))
        place = target.certified(counts.subset(photos.ids[i] for i in order[:n]), path)
        if place is None:
            rows.append((1.0, 0.0, np.nan, np.nan, 0.0, np.nan))
            continue
        others = order[n:]
        wrong = share(*of_all, sizes, others, place)
        foreground = share(*of_foreground, sizes, others, place)
        meant = share(*promised, sizes, everyone if unlabelled is None else others, place)
        new = share(*promised, sizes, others[:NEW], place)
        kept = (promised[1][others, place] / photos.pixels[others]).mean()
        broken = meant > epsilon
        rows.append((0.0, kept, wrong, foreground, broken, np.nan if broken else new > epsilon))
    table = np.array(rows, dtype=float)
    nothing, kept = table[:, :2].mean(axis=0)
    broken = int(table[:, 4].sum())
    some = table[table[:, 0] == 0]
    if not len(some):
        return f"{nothing:.2f} | 0.000 | - | - | - | {broken} | -"
    wrong, foreground = np.nanmean(some[:, 2]), np.nanmean(some[:, 3])
    p90 = np.nanquantile(some[:, 3], 0.9)
    return (
        f"{nothing:.2f} | {kept:.3f} | {wrong:.3f} | {foreground:.3f} | {p90:.3f} | "
        f"{broken} | {np.nanmean(some[:, 5]):.2f}"
    )


def share(
    wrong: np.ndarray, kept: np.ndarray, sizes: np.ndarray, images: Sequence[int], place: int
) -> float:
    """The share of wrong labels among the kept ones, images counting as the promise counts them."""
    bad = (wrong[images, place] / sizes[images, place]).mean()
    good = (kept[images, place] / sizes[images, place]).mean()
    return float(bad / good) if good else float("nan")


def tables(data: Path, draws: int, seed: int, only: str) -> Iterator[str]:
    beds = []
    for bed in (bed for bed in BEDS if only in f"{bed.name}, {bed.of}"):
        photos = count(data, bed)
        check_against_the_library(data, bed, photos)
        beds.append((bed, photos))
    yield f"coverage, {draws} draws\n"
    yield (
        "| photos | n | alpha | pixel: covered | spread | useless | image level: covered | "
        "useless |\n| --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    seen = set()
    for bed, photos in beds:
        kind = (bed.folder, bed.splits, bed.transform)
        if kind in seen:  # another rule has the same thresholds
            continue
        seen.add(kind)
        for n in bed.sizes:
            for alpha in (0.05, 0.1):
                figures = coverage(photos, n, alpha, draws, seed)
                yield f"| {bed.name} | {n} | {alpha:g} | {figures} |"
    yield f"\nprecision, delta {DELTA}, {draws} draws\n"
    yield (
        "| photos | rule | n | epsilon | promise for | nothing | kept | wrong | foreground wrong "
        f"| p90 | broken | new {NEW} |\n{'| --- ' * 12}|"
    )
    for bed, photos in beds:
        for n in bed.sizes:
            for epsilon in EPSILONS:
                for about in (POPULATION, UNLABELLED):
                    figures = precision(photos, n, epsilon, draws, seed, about)
                    yield f"| {bed.name} | {bed.rule} | {n} | {epsilon:g} | {about} | {figures} |"
    most = int(scipy.stats.binom.isf(1e-3, draws, DELTA))
    yield f"\na promise broken with probability {DELTA} breaks in at most {most} of {draws} draws"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="beds whose name, or what is promised, has this")
    options = parser.parse_args()
    for line in tables(options.data, options.draws, options.seed, options.only):
        print(line, flush=True)


if __name__ == "__main__":
    main()
