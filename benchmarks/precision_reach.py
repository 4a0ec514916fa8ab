"""What the best path could keep, had it been known which labels are right: a bound for any path.

    python benchmarks/precision_reach.py --data ../shared/data [--draws 100] [--forms NAME ...]

The photos and annotators of `draws_unseen.py`. Places are all triples of a background threshold, a
foreground threshold and a cap on a lattice; each is tested by itself, with all of delta and no
scouts, on many draws of n images. "Population": the most that a place keeps whose labels are wrong
at most a share epsilon in all held-back photos. "One place": the most that one keeps which is
certified in nine of ten draws. "Any order": what no fixed order of these places, tested one after
the other up to the first that fails, exceeds on average: a place that keeps a share k is certified
only if the first of the order that keeps so much is, so that the mean is at most the integral over
k of the largest chance that a place which keeps k has of being certified.
"""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path

import numpy as np
from draws import DELTA, Bed, read
from draws_unseen import FORMS, annotators

from conformal_plugin.betting import betting_pvalue
from conformal_plugin.precision import PrecisionCalibrator, PrecisionTarget, ThresholdPath

BACKGROUND = (0, 1e-6, 1e-5, 1e-4, 5e-4, 2e-3, 0.01, 0.03, 0.08, 0.15, 0.3, 0.5, 0.8)
FOREGROUND = (0, 1e-5, 1e-3, 0.01, 0.03, 0.1, 0.2, 0.3, 0.45, 0.6, 0.75)
CAPS = (0.1, 0.2, 0.3, 0.45, 0.6, 0.75, 0.9, 1.0)
ASKED = ((92, 0.05), (50, 0.10))
OFTEN = 0.9
LEAST = 0.01  # a place that keeps less is none


def lattice() -> ThresholdPath:
    """Every place a start of its own, since they are in no order."""
    background, foreground, caps = np.array(list(itertools.product(BACKGROUND, FOREGROUND, CAPS))).T
    places = len(caps)
    shares = (1 / places,) * places
    return ThresholdPath(background, foreground, tuple(range(places)), shares, caps=caps)


def counted(data: Path, bed: Bed) -> PrecisionCalibrator:
    ids, one = read(data, bed)
    calibrator = PrecisionCalibrator(rule=bed.rule, path=lattice())
    for name in ids:
        calibrator.update(*one(name), ids=[name])
    return calibrator


def reach(calibrator: PrecisionCalibrator, n: int, epsilon: float, draws: int, seed: int) -> str:
    counts, path = calibrator.counts(), calibrator.path
    losses = PrecisionTarget(epsilon, DELTA).losses(counts, path)
    kept = (counts.kept / counts.pixels[:, None]).mean(axis=0)
    worth = np.flatnonzero((losses.mean(axis=0) <= epsilon) & (kept > LEAST))
    rng, passed = np.random.default_rng(seed), np.zeros(len(worth))
    for _ in range(draws):
        drawn = np.sort(rng.permutation(len(losses))[:n])
        passed += betting_pvalue(losses[drawn][:, worth], epsilon, aim=DELTA) <= DELTA
    chance, share = passed / draws, kept[worth]
    often = share[chance >= OFTEN].max(initial=0.0)
    most_first = np.argsort(-share, kind="stable")
    levels = np.append(share[most_first], 0.0)
    any_order = float(-np.diff(levels) @ np.maximum.accumulate(chance[most_first]))
    return f"{share.max(initial=0.0):.3f} | {often:.3f} | {any_order:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--forms", nargs="+", choices=list(FORMS), default=list(FORMS))
    options = parser.parse_args()
    print("| photos | annotator | n | epsilon | population | one place | any order |")
    print("| --- " * 7 + "|")
    for name, bed in annotators(options.forms):
        calibrator = counted(options.data, bed)
        for n, epsilon in ASKED:
            figures = reach(calibrator, n, epsilon, options.draws, options.seed)
            print(f"| {name} | {n} | {epsilon:g} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
