"""One counting of an image gives at every threshold what ``evaluate`` measures there."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from conformal_plugin import evaluate
from conformal_plugin._choices import RULES
from conformal_plugin.choosing._label_counts import LabelCounts, count_labels
from conformal_plugin.choosing._ways import Family, Grid
from conformal_plugin.errors import LabelError, ScoreError
from conformal_plugin.scores import labelled_images

UINT16 = ["uint16"] if hasattr(torch, "uint16") else []  # torch 2.3 has it
QHATS = [-np.inf, 0.0, 0.125, 0.3, 0.5, 0.5, 0.75, 0.99, 1.0, np.inf]


def grid(rules, background, thresholds=None):
    """One threshold for all classes, as many of them as are passed."""
    return Grid(
        [0.1] * (thresholds or len(QHATS)),
        (),
        [Family("pixel", rule, background) for rule in rules],
        (),
    )


def image(dtype, seed=0, classes=5):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (13, 17)).astype(np.uint8)
    labels[rng.random(labels.shape) < 0.1] = 255
    scores = rng.random((classes, *labels.shape)).round(1)  # full of ties
    if np.dtype(dtype).kind in "ui":
        return (scores * np.iinfo(dtype).max).astype(dtype), labels
    return scores.astype(dtype), labels


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "uint8", *UINT16])
@pytest.mark.parametrize("background", [0, 3])
def test_it_counts_what_evaluate_measures(dtype, background):
    scores, labels = image(dtype)
    (item,) = labelled_images(scores, labels)
    counts = count_labels(item, QHATS, ways=grid(RULES, background), ignore_index=255)
    settings = [(rule, qhat) for rule in RULES for qhat in QHATS] + [("most-probable", np.inf)]
    assert counts.shape[0] == len(settings)
    for (rule, qhat), counted in zip(settings, counts.confusion):
        confusion = evaluate(scores, labels, qhat, rule=rule, background=background).confusion
        np.testing.assert_array_equal(counted, confusion[:, :-1], f"{rule} {qhat}")


@pytest.mark.parametrize("dtype", ["float16", "float32", "uint8"])
def test_it_counts_thresholds_of_each_class_alike(dtype):
    scores, labels = image(dtype)
    (item,) = labelled_images(scores, labels)
    thresholds = np.random.default_rng(1).random((3, 5))
    thresholds[0, 2] = -np.inf
    by_class = [Family("class-conditional", rule, 0) for rule in RULES]
    ways = Grid((), (0.3, 0.2, 0.1), (), by_class)
    counts = count_labels(item, (), thresholds, ways=ways, ignore_index=255)
    assert counts.shape[0] == ways.size == 10
    settings = [(rule, row) for rule in RULES for row in thresholds]
    for (rule, row), counted in zip(settings, counts.confusion):
        confusion = evaluate(scores, labels, row, rule=rule).confusion
        np.testing.assert_array_equal(counted, confusion[:, :-1], rule)


def test_counts_add_up():
    parts = []
    for seed in range(3):
        (item,) = labelled_images(*image("float16", seed))
        parts.append(count_labels(item, QHATS, ways=grid(RULES, 0), ignore_index=255))
    total = sum(part.confusion for part in parts)
    np.testing.assert_array_equal((parts[0] + parts[1] + parts[2]).confusion, total)
    np.testing.assert_array_equal(LabelCounts.of(total).confusion, total)


def test_bfloat16():
    scores, labels = image("float32", seed=1)
    rounded = torch.from_numpy(scores).to(torch.bfloat16)
    (item,) = labelled_images(rounded, torch.from_numpy(labels))
    counts = count_labels(item, [0.2, 0.6], ways=grid(["singleton"], 0, 2), ignore_index=255)
    for qhat, counted in zip((0.2, 0.6), counts.confusion):
        confusion = evaluate(rounded, torch.from_numpy(labels), qhat, rule="singleton").confusion
        np.testing.assert_array_equal(counted, confusion[:, :-1])


@pytest.mark.parametrize(("error", "value"), [(ScoreError, 1.5), (ScoreError, np.nan)])
def test_bad_scores_are_refused(error, value):
    scores, labels = image("float32")
    scores[0, 0, 0] = value
    (item,) = labelled_images(scores, labels)
    with pytest.raises(error, match=r"must lie in \[0, 1\]"):
        count_labels(item, [0.5], ways=grid(RULES, 0, 1), ignore_index=255)


def test_bad_labels_are_refused():
    scores, labels = image("float32")
    labels[0, 0] = 7
    (item,) = labelled_images(scores, labels)
    with pytest.raises(LabelError, match="classes 0 ... 4"):
        count_labels(item, [0.5], ways=grid(RULES, 0, 1), ignore_index=255)
