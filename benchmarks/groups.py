"""What naming groups keeps and ignoring them breaks: simulated videos, and street frames.

    python benchmarks/groups.py [--data ../shared/data] [--repeats 120] [--seed 0]

A pixel's nonconformity is Phi(sqrt(.6) a + sqrt(.2) b + sqrt(.2) e) with a drawn once per group, b
once per image and e once per pixel, so that a threshold q covers a share q of pixels of any image.
In "single photos and videos" half of the groups are one photo, half twelve frames that are scored
better (the eighth power). What is promised is the coverage of a random image of a new group. "Low"
is what a kept promise exceeds in 999 of 1000 runs of this script.

Certificates: all frames of a group are wrong together, with probability epsilon, so that none may
be given but by chance delta. Alarms of the assertions are counted on sound calibrations.

With --data: the street frames, segments of twelve consecutive seconds being the groups; 18 segments
calibrate, coverage is that of the frames of the others.
"""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.special import ndtr
from scipy.stats import binom, norm

from conformal_plugin import calibrate_image_level, calibrate_image_wise, calibrate_precision
from conformal_plugin.testing import PrecisionError, assert_image_precision

ALPHA, DELTA, FRAMES, PIXELS, TAU = 0.1, 0.1, 12, 64, 0.9
LOW = norm.isf(1e-3)


def scores_of(rng: np.random.Generator, sizes: np.ndarray) -> np.ndarray:
    a = np.repeat(rng.standard_normal(len(sizes)), sizes)[:, None]
    b = rng.standard_normal((len(a), 1))
    e = rng.standard_normal((len(a), PIXELS))
    return ndtr(math.sqrt(0.6) * a + math.sqrt(0.2) * b + math.sqrt(0.2) * e)


def maps_of(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    p = (1 - scores).astype(np.float16)
    return np.stack([p, 1 - p], axis=1)[:, :, None], np.zeros((len(p), 1, PIXELS), np.uint8)


def row(name: str, given: list[float]) -> str:
    values = np.array(given)
    low = 1 - ALPHA - LOW * values.std(ddof=1) / math.sqrt(len(values))
    return f"{name:66} {values.mean():7.4f} {low:7.4f} {values.std(ddof=1):7.4f}"


def coverage(rng: np.random.Generator, groups: int, repeats: int, *, mixed: bool) -> list[str]:
    given: dict[str, list[float]] = {
        f"{kind}, {how}": []
        for kind in ("image level", "image-wise")
        for how in ("ignored", "named")
    }
    for _ in range(repeats):
        video = rng.random(groups) < 0.5 if mixed else np.ones(groups, bool)
        sizes = np.where(video, FRAMES, 1)
        scores = scores_of(rng, sizes)
        names = [f"g{g}" for g in np.repeat(np.arange(groups), sizes)]
        if mixed:
            scores = np.where(np.repeat(video, sizes)[:, None], scores**8, scores)
        maps, labels = maps_of(scores)
        # A new group of each kind, for image-wise coverage, which has no formula.
        new = scores_of(rng, np.ones(40, int))
        for how, known in (("ignored", None), ("named", names)):
            q = float(calibrate_image_level(maps, labels, ALPHA, groups=known).qhat)
            shares = [min(q, 1.0) ** (1 / 8), min(q, 1.0)] if mixed else [min(q, 1.0)]
            given[f"image level, {how}"].append(float(np.mean(shares)))
            q = float(calibrate_image_wise(maps, labels, ALPHA, TAU, groups=known).qhat)
            kinds = [new**8, new] if mixed else [new]
            hit = [((one <= q).mean(axis=1) >= TAU).mean() for one in kinds]
            given[f"image-wise, {how}"].append(float(np.mean(hit)))
    what = "single photos and videos" if mixed else "videos of twelve frames"
    return [row(f"{groups} groups, {what}: {name}", values) for name, values in given.items()]


def certificates(rng: np.random.Generator, groups: int, epsilon: float, repeats: int) -> str:
    given = {"ignored": 0, "named": 0}
    alarms = {"ignored": 0, "named": 0}
    for _ in range(repeats):
        wrong = np.repeat(rng.random(groups) < epsilon, FRAMES)
        names = [f"g{g}" for g in np.repeat(np.arange(groups), FRAMES)]
        maps = np.full((len(wrong), 2, 1, 8), 0.02, np.float32)
        maps[:, 1] = 0.98
        labels = np.where(wrong, 0, 1)[:, None, None] * np.ones((1, 1, 8), int)
        for how, known in (("ignored", None), ("named", names)):
            found = calibrate_precision(
                maps, labels, epsilon, DELTA, rule="most-probable", groups=known
            )
            given[how] += int(np.isfinite(found.qhat))
            try:
                assert_image_precision(
                    8 * wrong,
                    np.full(len(wrong), 8),
                    epsilon=epsilon,
                    groups=known,
                    false_alarm=0.05,
                )
            except PrecisionError:
                alarms[how] += 1
    return (
        f"{groups} groups, epsilon {epsilon:g}, {repeats} repeats: certificates "
        f"{given['ignored']} (frames), {given['named']} (groups), limit "
        f"{int(binom.isf(1e-3, repeats, DELTA))}; alarms at .05 {alarms['ignored']} (frames), "
        f"{alarms['named']} (groups), limit {int(binom.isf(1e-3, repeats, 0.05))}"
    )


def segments(folder: Path) -> dict[str, str]:
    """The segment of every frame in the splits."""
    ids = [n for path in (folder / "splits").glob("*.txt") for n in path.read_text().split()]
    with (folder / "segments.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    found = {}
    for name in ids:
        for one in rows:
            if len(name) == len(one["first"]) and one["first"] <= name <= one["last"]:
                found[name] = one["first"]
    return found


def street(data: Path, rng: np.random.Generator, draws: int) -> list[str]:
    folder = data / "driving-camvid"
    of = segments(folder)
    ids = sorted(of)
    # One score a pixel: as maps of two classes, of which the first is true.
    codes = np.arange(257)
    missed = np.zeros((len(ids), len(codes)))
    true = []
    for i, name in enumerate(ids):
        probs = np.load(folder / "probs" / f"{name}.npz")["probs"].astype(np.float32)
        labels = np.array(Image.open(folder / "labels" / f"{name}.png"))
        used = labels != 255
        p = np.take_along_axis(probs, np.where(used, labels, 0)[None], axis=0)[0][used]
        true.append(p.astype(np.float16))
        missed[i] = [(1 - p > code / 256).mean() for code in codes]
    names = np.array([of[name] for name in ids])
    distinct = np.unique(names)
    given: dict[str, list[float]] = {"ignored": [], "named": []}
    for _ in range(draws):
        chosen = np.isin(names, rng.choice(distinct, 18, replace=False))
        numbers = np.flatnonzero(chosen)
        maps = [np.stack([true[i], 1 - true[i]])[:, None] for i in numbers]
        labels = [np.zeros((1, len(true[i])), np.uint8) for i in numbers]
        for how, known in (("ignored", None), ("named", names[numbers].tolist())):
            q = float(calibrate_image_level(maps, labels, ALPHA, groups=known).qhat)
            code = min(256, math.floor(q * 256 + 1e-6)) if q < 1 else 256
            left = {g: missed[(names == g) & ~chosen, code].mean() for g in set(names[~chosen])}
            given[how].append(1 - float(np.mean(list(left.values()))))
    return [
        f"{len(ids)} street frames of {len(distinct)} segments, {draws} draws of 18",
        *(row(f"image level, {how}", values) for how, values in given.items()),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--groups", type=int, nargs="+", default=[20])
    parser.add_argument("--repeats", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    print(f"{'':66} {'covered':>7} {'low':>7} {'sd':>7}")
    for groups in options.groups:
        for mixed in (False, True):
            print("\n".join(coverage(rng, groups, options.repeats, mixed=mixed)), flush=True)
    for groups, epsilon in ((40, 0.2), (93, 0.1)):
        print(certificates(rng, groups, epsilon, options.repeats), flush=True)
    if options.data is not None:
        print("\n".join(street(options.data, rng, 60)))


if __name__ == "__main__":
    main()
