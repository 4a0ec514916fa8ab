"""Thresholds per class and per cluster of classes on real photos: many draws of the labelled ones.

    python benchmarks/per_class.py --data ../shared/data [--draws 1000] [--beds NAME ...]

Every draw takes n images of a bed for calibration, and all others stand for the population. Of each
class that has a threshold of its own (or its cluster's) in a draw, the coverage there is the mean
over the images that hold the class of the covered share of the class's pixels. "Own": how many
classes have one, of those that occur; "covered": the mean over draws and these classes; "least":
the class whose mean over draws is lowest, of those with a threshold of their own in at least a
tenth of the draws; "under": share of draws and classes with less than 1 - 2 alpha; "classes": mean
size of a pixel's prediction set. Clusters are found on images that are drawn neither to calibrate
nor as the population. The one threshold of image level stands beside these, for all classes that
occur: it promises nothing of a class.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from draws import BEDS, Bed, read

from conformal_plugin import (
    calibrate_class_conditional,
    calibrate_class_conditional_image_level,
    calibrate_clustered,
    calibrate_image_level,
    cluster_classes,
)
from conformal_plugin.calibration import conformal_rank, exact_alpha, images_needed

LEVELS = 1024  # steps of a score; scores are rounded to them
ASKED = ((50, 0.1), (92, 0.1), (92, 0.05))
CLUSTERS = 3
FEWEST = 5
"""Images that hold a class, among the others, for its coverage there to be measured."""


@dataclass(frozen=True)
class Place:
    """Photos that are drawn from, and those on which clusters are found: splits of a bed."""

    name: str
    bed: str
    drawn: tuple[str, ...]
    clustered: tuple[str, ...] | None


PLACES = (
    Place("VOC train", "voc-animals, train", ("unlabeled",), ("labeled",)),
    Place("VOC test", "voc-animals, test", ("test",), ("labeled",)),
    Place("colonoscopy test", "polyps, test", ("test",), None),
    Place("driving", "driving", ("unlabeled", "test"), ("labeled",)),
)


@dataclass(frozen=True)
class Curves:
    """Of each image and class ``(images, K, LEVELS + 1)``, pixels by the threshold's step.

    Attributes:
        covered: pixels of the true class that have it in their set.
        within: share of all labelled pixels that have the class in their set.
    """

    ids: list[str]
    covered: np.ndarray
    within: np.ndarray

    @property
    def held(self) -> np.ndarray:
        """Pixels of each class ``(images, K)``."""
        return self.covered[:, :, -1]


def rounded(scores: np.ndarray) -> np.ndarray:
    return np.round(scores.astype(np.float32) * LEVELS) / LEVELS


def curves_of(data: Path, bed: Bed) -> Curves:
    ids, one = read(data, bed)
    covered, within = [], []
    for name in ids:
        scores, labels = one(name)
        used = labels != 255
        steps = np.round((1 - rounded(scores)[:, used]) * LEVELS).astype(int)
        truth = labels[used]
        covered.append([below(row[truth == c]) for c, row in enumerate(steps)])
        within.append([below(row) / len(truth) for row in steps])
    return Curves(ids, np.array(covered, np.int32), np.array(within, np.float32))


def below(steps: np.ndarray) -> np.ndarray:
    """How many steps are at most each step."""
    return np.cumsum(np.bincount(steps, minlength=LEVELS + 1))


def pixel_steps(covered: np.ndarray, alpha: float) -> np.ndarray:
    """Each class's threshold on its pooled pixels, as a step; beyond the last where it has none."""
    pooled = covered.sum(axis=0)
    images = (covered[:, :, -1] > 0).sum(axis=0)
    ranks = [conformal_rank(max(int(n), 1), alpha) for n in pooled[:, -1]]
    steps = (pooled < np.array(ranks)[:, None]).sum(axis=1)
    # A class with few images, or one that is scored 0 too often, has no threshold of its own.
    return np.where((images < images_needed(alpha)) | (steps >= LEVELS), LEVELS + 1, steps)


def image_steps(covered: np.ndarray, alpha: float) -> np.ndarray:
    """The image-level threshold of each class, likewise."""
    held = covered[:, :, -1:]
    shares = np.divide(covered, held, out=np.zeros(covered.shape), where=held > 0).sum(axis=0)
    images = (held[..., 0] > 0).sum(axis=0)
    needed = (images + 1) * float(1 - exact_alpha(alpha))
    return (shares < needed[:, None] - 1e-9).sum(axis=1)


def together(covered: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """The pixels of each cluster's classes, ``(images, clusters, ...)``."""
    return np.stack([covered[:, clusters == c].sum(axis=1) for c in range(clusters.max() + 1)], 1)


Way = Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]
"""From the calibration images' counts and alpha to a step for each class, and which are its own."""


def ways(clusters: np.ndarray | None) -> dict[str, Way]:
    def everyone(covered: np.ndarray, alpha: float) -> int:
        return int(image_steps(covered.sum(axis=1, keepdims=True), alpha)[0])

    def one(covered: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        count = covered.shape[1]
        return np.full(count, everyone(covered, alpha)), np.ones(count, dtype=bool)

    def pixels(covered: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        steps = pixel_steps(covered, alpha)
        pooled = covered.sum(axis=(0, 1))
        shared = (pooled < conformal_rank(int(pooled[-1]), alpha)).sum()
        return np.where(steps > LEVELS, shared, steps), steps <= LEVELS

    def images(covered: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        steps = image_steps(covered, alpha)
        return np.where(steps > LEVELS, everyone(covered, alpha), steps), steps <= LEVELS

    def clustered(covered: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        assert clusters is not None
        steps = image_steps(together(covered, clusters), alpha)[clusters]
        own = (clusters >= 0) & (steps <= LEVELS)
        return np.where(own, steps, everyone(covered, alpha)), own

    found: dict[str, Way] = {
        "image level, one threshold": one,
        "class-conditional, pixels": pixels,
        "class-conditional, image level": images,
    }
    return found if clusters is None else {**found, f"clustered, {CLUSTERS}": clustered}


def row(curves: Curves, way: Way, n: int, alpha: float, draws: int, seed: int) -> str:
    rng = np.random.default_rng(seed)
    classes = np.flatnonzero(curves.held.any(axis=0))
    coverage, size = np.full((draws, len(classes)), np.nan), []
    for draw in range(draws):
        order = rng.permutation(len(curves.ids))
        steps, own = way(curves.covered[order[:n]], alpha)
        steps, others = np.minimum(steps, LEVELS), order[n:]
        size.append(np.take_along_axis(curves.within, steps[None, :, None], 2)[others].sum(1))
        hits = np.take_along_axis(curves.covered[others], steps[None, :, None], 2)[..., 0]
        for place, c in enumerate(classes):
            holding = curves.held[others, c] > 0
            if own[c] and holding.sum() >= FEWEST:
                shares = hits[holding, c] / curves.held[others, c][holding]
                coverage[draw, place] = shares.mean()
    known = ~np.isnan(coverage)
    often = known.sum(axis=0) >= draws / 10
    means = np.array([coverage[known[:, i], i].mean() for i in np.flatnonzero(often)])
    under = (coverage[known] < 1 - 2 * alpha).mean()
    least = "-" if not len(means) else f"{means.min():.3f} ({classes[often][means.argmin()]})"
    return (
        f"{known.sum(axis=1).mean():.1f} of {len(classes)} | {coverage[known].mean():.3f} | "
        f"{least} | {under:.3f} | {np.mean(size):.2f}"
    )


def check_against_the_library(
    data: Path, bed: Bed, curves: Curves, clusters: np.ndarray | None
) -> None:
    """The thresholds above are those of the library."""
    _, one = read(data, bed)
    chosen = np.arange(50)
    images = [one(curves.ids[i]) for i in chosen]
    scores, labels = [rounded(s) for s, _ in images], [y for _, y in images]
    of_library = [
        calibrate_image_level(scores, labels, 0.1),
        calibrate_class_conditional(scores, labels, 0.1),
        calibrate_class_conditional_image_level(scores, labels, 0.1),
    ]
    if clusters is not None:
        of_library.append(calibrate_clustered(scores, labels, 0.1, clusters=clusters.tolist()))
    for (name, way), calibration in zip(ways(clusters).items(), of_library, strict=True):
        steps, own = way(curves.covered[chosen], 0.1)
        pooled = np.isin(np.arange(len(own)), calibration.pooled_classes)
        if not (np.array_equal(~pooled, own) and (calibration.qhat == steps / LEVELS).all()):
            raise RuntimeError(f"{bed.name}, {name}: the library's thresholds are others")


def clusters_of(data: Path, bed: Bed) -> np.ndarray:
    ids, one = read(data, bed)
    images = [one(name) for name in ids]
    found = cluster_classes([s for s, _ in images], [y for _, y in images], CLUSTERS, alpha=0.1)
    return np.array(found.of_class)


def tables(data: Path, names: list[str], draws: int, seed: int) -> Iterator[str]:
    yield f"{draws} draws\n"
    yield (
        "| photos | n | alpha | calibration | own | covered | least (class) | under | classes |\n"
        f"{'| --- ' * 9}|"
    )
    for place in (place for place in PLACES if place.name in names):
        whole = next(bed for bed in BEDS if bed.name == place.bed)
        bed = replace(whole, splits=place.drawn)
        clusters = None
        if place.clustered is not None:
            clusters = clusters_of(data, replace(whole, splits=place.clustered))
        curves = curves_of(data, bed)
        check_against_the_library(data, bed, curves, clusters)
        for n, alpha in ASKED:
            for name, way in ways(clusters).items():
                figures = row(curves, way, n, alpha, draws, seed)
                yield f"| {place.name} | {n} | {alpha:g} | {name} | {figures} |"
        yield f"clusters of {place.name}: {None if clusters is None else clusters.tolist()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    every = [place.name for place in PLACES]
    parser.add_argument("--beds", nargs="+", choices=every, default=every)
    options = parser.parse_args()
    for line in tables(options.data, options.beds, options.draws, options.seed):
        print(line, flush=True)


if __name__ == "__main__":
    main()
