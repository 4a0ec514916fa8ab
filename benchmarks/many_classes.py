"""Many classes, few images each: what clusters of classes buy over one threshold and over one each.

Run (about a minute)::

    python benchmarks/many_classes.py [--repeats 50] [--seed 0]

60 classes are of four kinds, from easy to hard; an image holds five of them. The nonconformity of a
pixel is u ** power, u uniform and correlated within the image (r = .3), the power that of its
class's kind, so that a class's true coverage at its threshold is known. 40 images find the clusters
and 92 calibrate; the other calibrations have all 132. "Off" is the mean distance of a class's true
coverage from 1 - alpha, "under" the share of classes covered to less than 1 - 2 alpha, "own" the
share of classes with a threshold that is not everyone's.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from scipy.special import ndtr

from conformal_plugin import (
    Calibration,
    calibrate_class_conditional_image_level,
    calibrate_clustered,
    calibrate_image_level,
    cluster_classes,
)

CLASSES, HELD, PIXELS, ALPHA, CORRELATION = 60, 5, 500, 0.1, 0.3
POWERS = np.repeat([0.3, 1.0, 3.0, 9.0], CLASSES // 4)
CLUSTERING, CALIBRATION = 40, 92

Images = tuple[np.ndarray, np.ndarray]


def images(rng: np.random.Generator, count: int) -> Images:
    """Maps ``(N, K, 1, PIXELS)``, in which all classes have the true class's score, and labels."""
    labels = np.stack([rng.choice(CLASSES, HELD, False)[rng.integers(0, HELD, PIXELS)]
                       for _ in range(count)])  # fmt: skip
    shared = np.sqrt(CORRELATION) * rng.standard_normal((count, 1))
    own = np.sqrt(1 - CORRELATION) * rng.standard_normal((count, PIXELS))
    scores = (1 - ndtr(shared + own) ** POWERS[labels]).astype(np.float16)
    maps = np.broadcast_to(scores[:, None, None], (count, CLASSES, 1, PIXELS))
    return maps, labels[:, None]


def calibrations(rng: np.random.Generator) -> Iterator[tuple[str, Calibration]]:
    maps, labels = images(rng, CLUSTERING + CALIBRATION)
    first, rest = slice(0, CLUSTERING), slice(CLUSTERING, None)
    yield "image level, one threshold", calibrate_image_level(maps, labels, ALPHA)
    yield (
        "class-conditional, image level",
        calibrate_class_conditional_image_level(maps, labels, ALPHA),
    )
    found = cluster_classes(maps[first], labels[first], 4, alpha=ALPHA, min_images=2)
    yield (
        "clustered, four clusters",
        calibrate_clustered(maps[rest], labels[rest], ALPHA, clusters=found),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    rows: dict[str, list[tuple[float, float, float]]] = {}
    for _ in range(arguments.repeats):
        for name, calibration in calibrations(rng):
            qhat = np.minimum(np.broadcast_to(calibration.qhat, CLASSES), 1.0)
            coverage = qhat ** (1 / POWERS)
            own = 1 - len(calibration.pooled_classes) / CLASSES if np.ndim(calibration.qhat) else 0
            off, under = np.abs(coverage - (1 - ALPHA)).mean(), (coverage < 1 - 2 * ALPHA).mean()
            rows.setdefault(name, []).append((float(off), float(under), float(own)))
    print(f"{arguments.repeats} repeats, alpha {ALPHA}\n")
    print("| calibration | off | under | own |\n| --- | --- | --- | --- |")
    for name, values in rows.items():
        off, under, own = np.mean(values, axis=0)
        print(f"| {name} | {off:.3f} | {under:.3f} | {own:.3f} |")


if __name__ == "__main__":
    main()
