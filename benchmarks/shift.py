"""Labelled beside unlabelled maps of real photos: alarms where they are exchangeable, and power.

    python benchmarks/shift.py --data ../shared/data [--draws 40] [--seed 0]

Three beds of real photos. "Drawn at random": n photos of a bed are labelled, all others are not, so
that every alarm is a false one; the exact limit that a test at its level stays below in 999 of 1000
runs of this script stands beside. The other rows break exchangeability on purpose.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.stats import binom

from conformal_plugin.evaluation import MapMeasures, measure_map, shift_of_measures

LEVELS = (0.01, 0.05, 0.1)
BEDS = {"VOC": "voc-animals", "colonoscopy": "polyps-kvasir", "street": "driving-camvid"}


def sharpened(power: float) -> Callable[[np.ndarray], np.ndarray]:
    """An annotator that is surer, or less sure, of the same classes."""

    def change(probs: np.ndarray) -> np.ndarray:
        p = probs.astype(np.float32) ** power
        return p / np.maximum(p.sum(axis=0, keepdims=True), 1e-6)

    return change


def ids_of(folder: Path) -> list[str]:
    lists = sorted((folder / "splits").glob("*.txt"))
    return sorted({name for path in lists for name in path.read_text().split("\n") if name})


def measured(
    folder: Path, ids: list[str], change: Callable[[np.ndarray], np.ndarray]
) -> list[MapMeasures]:
    maps = (np.load(folder / "probs" / f"{name}.npz")["probs"] for name in ids)
    return [measure_map(change(probs)) for probs in maps]


class Alarms:
    """How often a row's p-values lie at or below each level."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._p: list[float] = []

    def add(self, labelled: list[MapMeasures], unlabelled: list[MapMeasures]) -> None:
        self._p.append(shift_of_measures(labelled, unlabelled).p_value)

    def row(self) -> str:
        p = np.array(self._p)
        counts = " ".join(f"{int((p <= level).sum()):6d}" for level in LEVELS)
        return f"{self._name:58} {len(p):5d} {counts}"


def parted(all_of_them: list[MapMeasures], labelled: np.ndarray) -> tuple[list, list]:
    chosen = set(labelled.tolist())
    return (
        [one for i, one in enumerate(all_of_them) if i in chosen],
        [one for i, one in enumerate(all_of_them) if i not in chosen],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--draws", type=int, default=40)
    parser.add_argument("--beds", nargs="+", choices=BEDS, default=list(BEDS))
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    heading = " ".join(f"{f'<={level}':>6}" for level in LEVELS)
    print(f"{'':58} {'draws':>5} {heading}")
    limits = " ".join(f"{int(binom.isf(1e-3, options.draws, level)):6d}" for level in LEVELS)
    print(f"{'limit where exchangeable':58} {options.draws:5d} {limits}")
    for bed in options.beds:
        folder = options.data / BEDS[bed]
        ids = ids_of(folder)
        # Summing to 1 exactly, as the changed ones do: rounded scores on disk do not.
        maps = measured(folder, ids, sharpened(1.0))
        for n in (20, 92):
            row = Alarms(f"{bed}, {n} of {len(ids)} drawn at random")
            for _ in range(options.draws):
                row.add(*parted(maps, rng.choice(len(ids), n, replace=False)))
            print(row.row(), flush=True)
        for power in (0.9, 1.1):
            other = measured(folder, ids, sharpened(power))
            for n in (20, 92):
                row = Alarms(f"{bed}, {n}; scores of the others to the power {power:g}")
                for _ in range(options.draws // 2):
                    chosen = rng.choice(len(ids), n, replace=False)
                    row.add(parted(maps, chosen)[0], parted(other, chosen)[1])
                print(row.row(), flush=True)
        surest = np.argsort([one.general[0] for one in maps])
        for n in (20, 92):
            row = Alarms(f"{bed}, {n} drawn from the less sure half")
            for _ in range(options.draws // 4):
                row.add(*parted(maps, rng.choice(surest[: len(ids) // 2], n, replace=False)))
            print(row.row(), flush=True)
        if bed == "street":
            drives = np.array([one[:5] for one in ids])
            for drive in np.unique(drives):
                mine = np.flatnonzero(drives == drive)
                n = min(20, len(mine) // 2)
                row = Alarms(f"{bed}, {n} of drive {drive}, beside the other drives")
                for _ in range(options.draws // 4):
                    chosen = rng.choice(mine, n, replace=False)
                    others = np.flatnonzero(drives != drive)
                    row.add([maps[i] for i in chosen], [maps[i] for i in others])
                print(row.row(), flush=True)


if __name__ == "__main__":
    main()
