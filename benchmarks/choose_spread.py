"""Whether the figures that choose prints, and their standard errors, hold on other photos.

    python benchmarks/choose_spread.py --data ../shared/data/voc-animals [--draws 200]

Draws n photos, lets `choose` propose from them, and measures the proposal, at its threshold from
all n, on all other photos of the folder (every fourth pixel). "printed - there" is the mean of what
choose printed less what was measured there, in points; "within" the share of draws in which the two
differ by at most one standard error, where a normal estimate without bias has .68.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from conformal_plugin import choose, evaluate

STRIDE = 4
SIZES = (20, 46, 92)
FIGURES = ("miou", "precision", "recall", "kept")


def read(data: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    lists = sorted((data / "splits").glob("*.txt"))
    ids = sorted(name for path in lists for name in path.read_text(encoding="utf-8").split())
    scores, labels = [], []
    for name in ids:
        with np.load(data / "probs" / f"{name}.npz") as archive:
            scores.append(archive["probs"][:, ::STRIDE, ::STRIDE].copy())
        labels.append(np.array(Image.open(data / "labels" / f"{name}.png"))[::STRIDE, ::STRIDE])
    return scores, labels


def one_draw(
    scores: list[np.ndarray], labels: list[np.ndarray], chosen: np.ndarray, others: np.ndarray
) -> list[tuple[float, float, float]]:
    """Of each figure: printed, its standard error, and measured on the others."""
    choice = choose([scores[i] for i in chosen], [labels[i] for i in chosen])
    best = choice.proposed
    result = evaluate(
        [scores[i] for i in others],
        [labels[i] for i in others],
        np.inf if choice.calibration is None else choice.calibration,
        rule=best.rule,
    )
    objects = [c for c in choice.classes if c != choice.background]
    right = np.diagonal(result.confusion)[objects].sum()
    there = {
        "miou": result.miou(choice.classes),
        "precision": result.precision,
        "recall": right / result.confusion[objects].sum(),
        "kept": result.kept,
    }
    return [(getattr(best, f), getattr(best, f"{f}_se"), float(there[f])) for f in FIGURES]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data/voc-animals"))
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    scores, labels = read(options.data)
    print(f"{len(scores)} photos, {options.draws} draws, in points\n")
    print("| n | figure | printed - there | within one standard error |")
    print("| --- | --- | --- | --- |")
    for n in SIZES:
        rng = np.random.default_rng(options.seed)
        drawn = (rng.permutation(len(scores)) for _ in range(options.draws))
        table = np.array([one_draw(scores, labels, o[:n], o[n:]) for o in drawn])
        for figure, (printed, error, there) in zip(FIGURES, table.transpose(1, 2, 0), strict=True):
            off = printed - there
            chance = 100 * off.std() / np.sqrt(options.draws)
            within = np.mean(np.abs(off) <= error)
            print(f"| {n} | {figure} | {100 * off.mean():+.1f} ± {chance:.1f} | {within:.2f} |")


if __name__ == "__main__":
    main()
