"""What a photo's place in a review says about its wrong labels, on real photos.

    python benchmarks/review_ranking.py --data ../shared/data/voc-animals

Calibrated on the labelled photos at three levels, with both forms of the scores; the unlabelled
photos are ranked by each order, and their true masks say which labels are wrong. "p" is of a
correlation as high as this one where the order knew nothing: the observed one is counted among
those of 9,999 random orders, which is exact whatever the figures' distribution.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from scipy.stats import rankdata

from conformal_plugin import calibrate, filter
from conformal_plugin.files import label_files, map_files, read_ids
from conformal_plugin.review import photo_figures, ranked

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
from score_forms import FORMS, seem_like

ALPHAS = (0.05, 0.1, 0.2)
ORDERS = ("all", "unsure", "lost", "classes", "sets")
FIRST = 5  # one photo of so many is looked at
IGNORED = 255
ORDERS_DRAWN = 9_999


def scored(data: Path, ids: list[str], form: str) -> list[np.ndarray]:
    """The maps of photos in a form."""
    change = seem_like if form == FORMS[1] else np.asarray
    return [change(scores) for scores in map_files(data / "probs", ids)]


def correlated(values: list[float], wrong: np.ndarray) -> tuple[float, float]:
    """Spearman's correlation, and the p-value of one that is as high by a random order."""
    by_place, by_wrong = (rankdata(each) - (len(each) + 1) / 2 for each in (values, wrong))
    by_place = by_place / np.linalg.norm(by_place)
    by_wrong = by_wrong / np.linalg.norm(by_wrong)
    found = float(by_place @ by_wrong)
    orders = np.tile(by_wrong, (ORDERS_DRAWN, 1))
    np.random.default_rng(0).permuted(orders, axis=1, out=orders)
    # Of equal ones some are a rounding below.
    as_high = int((orders @ by_place >= found - 1e-12).sum())
    return found, (1 + as_high) / (1 + ORDERS_DRAWN)


def main() -> None:
    """Print a row for each form, level and order."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="laid out as voc-animals")
    data = parser.parse_args().data
    ids = {
        name: list(read_ids(data / "splits" / f"{name}.txt"))
        for name in ("labeled_92", "unlabeled_345")
    }
    truth = {name: list(label_files(data / "labels", listed)) for name, listed in ids.items()}
    unlabelled, true = ids["unlabeled_345"], truth["unlabeled_345"]
    first = len(unlabelled) // FIRST
    print(f"the first {first} of {len(unlabelled)} photos\n")
    print("| scores | alpha | labels wrong | order | correlation | p | share of wrong labels |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for form in FORMS:
        maps = scored(data, unlabelled, form)
        labelled = scored(data, ids["labeled_92"], form)
        for alpha in ALPHAS:
            calibration = calibrate(labelled, truth["labeled_92"], alpha=alpha)
            figures = {n: photo_figures(m, calibration) for n, m in zip(unlabelled, maps)}
            kept = (filter(scores, calibration) for scores in maps)
            wrong = np.array(
                [((k != t) & (k != IGNORED) & (t != IGNORED)).mean() for k, t in zip(kept, true)]
            )
            for order in ORDERS:
                photos = ranked(figures, calibration.pixels_per_class, order)
                score = {photo.name: photo.score for photo in photos}
                values = [score[name] for name in unlabelled]
                # Where nothing is lost, or wrong, anywhere, no photo is ahead of another.
                same = len(set(values)) == 1 or len(set(wrong)) == 1
                rho, p = (np.nan, np.nan) if same else correlated(values, wrong)
                place = {name: i for i, name in enumerate(unlabelled)}
                there = sum(wrong[place[photo.name]] for photo in photos[:first])
                share = "none" if same else f"{there / wrong.sum():.2f}"
                level = f"| {form} | {alpha} | {wrong.mean():.3f}"
                row = ("none", "none") if same else (f"{rho:.2f}", f"{p:.4f}")
                print(f"{level} | {order} | {' | '.join(row)} | {share} |", flush=True)


if __name__ == "__main__":
    main()
