"""What each calibration promises and gives, on images whose pixels are strongly correlated.

A pixel's nonconformity is s = Phi(sqrt(r) a + sqrt(1 - r) e), a drawn once per image, e once per
pixel, both standard normal: s is uniform, so a threshold q covers a share q of pixels, known
without a test set. Run::

    python benchmarks/coverage_simulation.py --repeats 1000

Each repeat draws a calibration set and, for the image-wise promise, 50 new images. Of the promise
with confidence it is the share of calibration sets whose threshold covers 1 - alpha. "low" is the
lowest mean that a kept promise gives in 999 of 1000 runs of this script (normal approximation over
the repeats, which are independent).
"""

from __future__ import annotations

import argparse
import math
import time

import numpy as np
from scipy.special import ndtr
from scipy.stats import norm

from conformal_plugin import Calibration, calibrate
from conformal_plugin.calibration import (
    calibrate_class_conditional_image_level,
    calibrate_clustered,
    calibrate_image_level,
    calibrate_image_wise,
    calibrate_with_confidence,
)

TAU = 0.9
DELTA = 0.1
LOW = norm.ppf(1 - 1e-3)
# Of the images, the share that holds each class; the pixels of an image are split evenly.
HELD = (1.0, 1.0, 0.5)
# A class's nonconformity is u ** power of a uniform u, so that q covers a share q ** (1 / power).
POWERS = (1.0, 1.0, 3.0)


def correlated(
    rng: np.random.Generator, images: int, pixels: int, correlation: float
) -> np.ndarray:
    """Uniform scores ``(images, pixels)``, correlated within an image."""
    shared = math.sqrt(correlation) * rng.standard_normal((images, 1), dtype=np.float32)
    own = math.sqrt(1 - correlation) * rng.standard_normal((images, pixels), dtype=np.float32)
    return ndtr(shared + own)


def as_maps(scores: np.ndarray) -> np.ndarray:
    """Maps of two classes whose class 0 has this nonconformity."""
    p = (1 - scores).astype(np.float16)
    return np.stack([p, 1 - p], axis=1)[:, :, None]


def several_classes(
    rng: np.random.Generator, images: int, pixels: int, correlation: float
) -> tuple[np.ndarray, np.ndarray]:
    """Maps and labels of three classes, the last of which is rarer and scored worse."""
    labels = np.zeros((images, 1, pixels), np.uint8)
    for image in labels:
        present = [c for c, share in enumerate(HELD) if rng.random() < share]
        image[0] = rng.choice(present, pixels)
    u = correlated(rng, images, pixels, correlation)
    p = (1 - u ** np.array(POWERS)[labels[:, 0]]).astype(np.float16)
    return np.repeat(p[:, None, None], len(HELD), axis=1), labels


class Promise:
    """One row of the table: what was promised and what each repeat gave."""

    def __init__(self, name: str, exact: bool, promised: float) -> None:
        self.name, self.exact, self.promised = name, exact, promised
        self.given: list[float] = []

    def row(self) -> str:
        mean, sd = np.mean(self.given), np.std(self.given, ddof=1)
        low = self.promised - LOW * sd / math.sqrt(len(self.given))
        verdict = ("kept" if mean >= low else "BROKEN") if self.exact else "no promise"
        return (
            f"{self.name:38} {'exact' if self.exact else 'heuristic':9} {self.promised:8.3f} "
            f"{mean:8.4f} {low:8.4f} {sd:8.4f}  {verdict}"
        )


def simulate(
    images: int, pixels: int, alpha: float, correlation: float, repeats: int, seed: int
) -> list[str]:
    rng = np.random.default_rng(seed)
    labels = np.zeros((images, 1, pixels), np.uint8)
    pooled = Promise("pooled pixels (calibrate)", False, 1 - alpha)
    level = Promise("image level", True, 1 - alpha)
    wise = Promise(f"image-wise, tau {TAU:g}", True, 1 - alpha)
    own = [
        Promise(f"class-conditional image level, class {c}", True, 1 - alpha)
        for c in range(len(HELD))
    ]
    sure = Promise(f"confidence, delta {DELTA:g}: share of sets", True, 1 - DELTA)
    clustered = Promise("clustered, classes 0 and 1", True, 1 - alpha)
    effective = []
    unpromised = 0
    for _ in range(repeats):
        maps = as_maps(correlated(rng, images, pixels, correlation))
        plain = calibrate(maps, labels, alpha)
        pooled.given.append(covered(plain))
        effective.append(plain.n_effective or math.nan)
        level.given.append(covered(calibrate_image_level(maps, labels, alpha)))
        qhat = calibrate_with_confidence(maps, labels, alpha, DELTA).qhat
        sure.given.append(float(qhat >= 1 - alpha))
        qhat = calibrate_image_wise(maps, labels, alpha, TAU).qhat
        new = correlated(rng, 50, pixels, correlation) <= qhat
        wise.given.append(float((new.mean(axis=1) >= TAU).mean()))

        maps, truth = several_classes(rng, images, pixels, correlation)
        result = calibrate_class_conditional_image_level(maps, truth, alpha)
        for c, promise in enumerate(own):
            if c in result.pooled_classes:
                unpromised += 1
            else:
                promise.given.append(min(float(result.qhat[c]), 1.0) ** (1 / POWERS[c]))
        qhat = calibrate_clustered(maps, truth, alpha, clusters=[0, 0, 1]).qhat
        clustered.given.append(min(float(qhat[0]), 1.0))
    claim = math.sqrt(alpha * (1 - alpha) / (images * pixels))
    estimate = float(np.nanmedian(effective))
    estimated = math.sqrt(alpha * (1 - alpha) / estimate)
    lines = [
        f"\n{images} images of {pixels} pixels, r {correlation}, alpha {alpha:g}, {repeats} repeats"
    ]
    lines.append(f"{'':38} {'':9} {'promised':>8} {'mean':>8} {'low':>8} {'sd':>8}")
    lines += [p.row() for p in (pooled, level, wise, sure, *own, clustered) if len(p.given) > 1]
    spread = float(np.std(pooled.given, ddof=1))
    lines.append(
        f"pooled pixels' spread: {spread:.4f}; by the pixel count {claim:.4f} "
        f"({spread / claim:.1f} times too small); by the estimated effective size of "
        f"{estimate:.0f} of {images * pixels} pixels {estimated:.4f}"
    )
    if unpromised:
        lines.append(f"classes pooled for want of images: {unpromised} of {3 * repeats}")
    return lines


def covered(calibration: Calibration) -> float:
    """True coverage of a threshold on uniform scores."""
    return min(float(calibration.qhat), 1.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--pixels", type=int, default=2000)
    parser.add_argument("--alpha", type=float, default=0.1)
    parser.add_argument("--correlation", type=float, default=0.3)
    parser.add_argument("--images", type=int, nargs="+", default=[20, 92])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    for images in arguments.images:
        start = time.perf_counter()
        lines = simulate(
            images,
            arguments.pixels,
            arguments.alpha,
            arguments.correlation,
            arguments.repeats,
            arguments.seed,
        )
        print("\n".join(lines), f"({time.perf_counter() - start:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
