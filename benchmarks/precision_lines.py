"""Which line of the default path would have been the best, and how often scouts choose it.

    python benchmarks/precision_lines.py --data ../shared/data [--draws 1000] [--only PHOTOS]
        [--forms NAME ...]

The photos, annotators and draws of `draws_unseen.py`. "Scouts": the path as it is. "Best line": the
line that keeps most on average, had it been known for this annotator; scouts are still not bet on.
"Chosen": the share of draws in which the scouts choose that line. What lies between the two is lost
by the choice; what is missing from the best line on, only other lines could gain.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from draws import DELTA, Photos, count
from draws_unseen import FORMS, annotators

from conformal_plugin.precision import PrecisionTarget, ThresholdPath
from conformal_plugin.precision._target import pvalues

ASKED = ((92, 0.05), (50, 0.10))


def row(photos: Photos, n: int, epsilon: float, draws: int, seed: int) -> str:
    counts, path = photos.calibrator.counts(), photos.calibrator.path
    target = PrecisionTarget(epsilon, DELTA)
    losses = target.losses(counts, path)
    worth = (counts.kept - counts.wrong / epsilon) / target.sizes(counts, path)
    # Images are drawn as `photos` has them, and bet on in the order of the counts.
    row_of = {name: row for row, name in enumerate(counts.ids)}
    rows = np.array([row_of[name] for name in photos.ids])
    rng, kept, chosen = np.random.default_rng(seed), [], []
    for _ in range(draws):
        order = rng.permutation(len(photos))
        drawn, others = np.sort(rows[order[:n]]), order[n:]
        shares = (photos.kept[others] / photos.pixels[others, None]).mean(axis=0)
        p = pvalues(target, losses[drawn[path.scouts :]], path.aims(DELTA))
        kept.append([kept_on(path, p, start, shares) for start in path.starts])
        chosen.append(path.starts.index(path.chosen_start(worth[drawn[: path.scouts]])))
    table = np.array(kept)
    own = table[np.arange(draws), chosen]
    best = int(np.maximum(table, 0).mean(axis=0).argmax())
    cells = [f"{share:.2f} | {mean:.3f}" for share, mean in map(summary, (own, table[:, best]))]
    return f"{cells[0]} | {best + 1} | {cells[1]} | {np.mean(np.array(chosen) == best):.2f}"


def kept_on(path: ThresholdPath, p: np.ndarray, start: int, shares: np.ndarray) -> float:
    """The share of labels that the last certified place of a line keeps; -1 for none."""
    places = np.flatnonzero(path.certified(p, DELTA, start)[path.line(start)])
    return float(shares[start + places[-1]]) if len(places) else -1.0


def summary(kept: np.ndarray) -> tuple[float, float]:
    """The share of draws in which nothing is kept, and what is kept on average."""
    return float((kept < 0).mean()), float(np.maximum(kept, 0).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--draws", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="photos whose name has this text")
    parser.add_argument("--forms", nargs="+", choices=list(FORMS), default=list(FORMS))
    options = parser.parse_args()
    print(
        "| photos | annotator | n | epsilon | scouts: nothing | kept | best line | nothing | kept "
        f"| chosen |\n{'| --- ' * 10}|"
    )
    for name, bed in annotators(options.forms, options.only):
        photos = count(options.data, bed)
        for n, epsilon in ASKED:
            figures = row(photos, n, epsilon, options.draws, options.seed)
            print(f"| {name} | {n} | {epsilon:g} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
