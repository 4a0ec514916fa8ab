"""Real photos: what is chosen on the 92 tells the 345 nearly as much as the best of the grid."""

from __future__ import annotations

import numpy as np
import pytest

from conformal_plugin import calibrate_class_conditional, choose
from conformal_plugin._choices import ALPHAS, CLASS_ALPHAS, RULES
from conformal_plugin.choosing._label_counts import LabelCounts, count_labels
from conformal_plugin.choosing._measures import FoldCounts
from conformal_plugin.choosing._ways import MIN_IMAGES, Grid, families
from conformal_plugin.files import LazySequence, read_label, read_map
from conformal_plugin.processes import in_parallel
from conformal_plugin.scores import labelled_images

STRIDE = 4  # of rows and columns of the 345, and 2 of the 92, for speed; as in docs/choosing.md
CORE = (0, 8, 10, 12, 13, 15, 17)


def as_they_are(probs):
    return probs


@pytest.fixture
def forms(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "examples")
    from degraded import over_object
    from score_forms import seem_like

    return {
        "as_they_are": as_they_are,
        "seem_like": seem_like,
        "over_object": lambda scores: over_object(scores, ""),
    }


@pytest.mark.real
@pytest.mark.parametrize("form", ["as_they_are", "seem_like", "over_object"])
def test_the_choice_made_on_the_labelled_photos_holds_on_the_others(voc, forms, form):
    make = forms[form]

    def images(split, stride):
        names = (voc / "splits" / f"{split}.txt").read_text().split()

        def scores(name):
            return make(read_map(voc / "probs" / f"{name}.npz")[:, ::stride, ::stride])

        def labels(name):
            return read_label(voc / "labels" / f"{name}.png")[::stride, ::stride]

        return LazySequence(scores, names), LazySequence(labels, names)

    few = [list(part) for part in images("labeled_92", 2)]
    choice = choose(*few, classes=CORE)
    assert choice.worth_using
    assert (choice.n_images, choice.folds) == (92, 92)

    ways = Grid(ALPHAS[::-1], CLASS_ALPHAS, *families(RULES, 0, 21))
    qhats = [c.qhat for c in choice.candidates[: len(ALPHAS)]]
    found = (calibrate_class_conditional(*few, a, min_images=MIN_IMAGES) for a in CLASS_ALPHAS)
    by_class = np.array([calibration.qhat for calibration in found])

    def count(item):
        return count_labels(item, qhats, by_class, ways=ways, ignore_index=255)

    total, true = LabelCounts.of(np.zeros((ways.size, 21, 21), dtype=np.int64)), 0
    for item, result in in_parallel(count, labelled_images(*images("unlabeled_345", STRIDE))):
        total = total + result()
        labels = item.labels.numpy()
        true = true + np.bincount(labels[labels != 255], minlength=21)
    counts = FoldCounts([total], true[None], CORE, 0)
    held_out = counts.information[0]
    usable = [candidate.usable for candidate in choice.candidates]
    place = choice.candidates.index(choice.proposed)
    settings = [(c.thresholds, c.rule, c.alpha) for c in choice.candidates]
    paper = settings.index(("pixel", "foreground-first", 0.05))
    places = {"proposed": place, "paper": paper, "no filter": -1}
    print(f"\n{form}: best of the grid {held_out[usable].max():.4f}")
    for name, i in places.items():
        shares = (getattr(counts, measure)[0][i] for measure in ("precision", "kept", "miou"))
        print(
            f"{name}: {choice.candidates[i].name}: {held_out[i]:.4f}", *map("{:.4f}".format, shares)
        )
    one = choice.proposed
    assert abs(one.information - held_out[place]) < 3 * one.information_se
    assert held_out[place] >= held_out[usable].max() - 0.03
    assert held_out[place] >= max(held_out[paper], held_out[-1]) - 0.03
    if form == "seem_like":
        assert held_out[place] > held_out[-1] + 0.3
