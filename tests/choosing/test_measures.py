"""The measures are those of ``Evaluation``; standard errors are real ones."""

from __future__ import annotations

import numpy as np
import pytest

from conformal_plugin import evaluate
from conformal_plugin.choosing._measures import FoldCounts, jackknife


def folds(rng, count, classes=3, candidates=2):
    true = rng.integers(5, 40, (count, classes))
    right = rng.integers(0, true[:, None, :] + 1, (count, candidates, classes))
    return FoldCounts(right + rng.integers(0, 9, right.shape), right, true, range(classes), 0)


def test_they_are_those_of_an_evaluation():
    rng = np.random.default_rng(0)
    scores = rng.random((4, 3, 9, 9)).astype(np.float32)
    labels = rng.integers(0, 3, (4, 9, 9))
    result = evaluate(scores, labels, 0.4, rule="most-probable")
    confusion = result.confusion
    one = FoldCounts(
        confusion[:, :-1].sum(axis=0)[None, None],
        np.diagonal(confusion)[None, None],
        confusion.sum(axis=1)[None],
        (0, 2),
        0,
    )
    assert one.miou[0] == pytest.approx([result.miou([0, 2])])
    assert one.precision[0] == pytest.approx([result.precision])
    assert one.kept[0] == pytest.approx([result.kept])
    assert one.recall[0] == pytest.approx([confusion[2, 2] / confusion[2].sum()])


def test_without_a_fold_is_what_the_others_give():
    counts = folds(np.random.default_rng(1), 6)
    parts = (counts.labelled[1:], counts.right[1:], counts.true[1:])
    others = FoldCounts(*parts, counts.classes, counts.background)
    for name in ("miou", "precision", "kept", "recall"):
        np.testing.assert_allclose(getattr(counts, name)[1][0], getattr(others, name)[0])


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(2).normal(size=30)
    without = (values.sum() - values) / 29
    assert jackknife(without) == pytest.approx(values.std(ddof=1) / np.sqrt(30))


def test_standard_errors_are_the_spread_between_draws():
    """The estimated error of a ratio agrees with what repeated draws of images show."""
    rng = np.random.default_rng(3)
    draws = [folds(rng, 60) for _ in range(300)]
    for name in ("miou", "precision", "kept", "recall"):
        spread = np.std([getattr(d, name)[0] for d in draws], axis=0)
        estimated = np.mean([jackknife(getattr(d, name)[1]) for d in draws], axis=0)
        np.testing.assert_allclose(estimated, spread, rtol=0.2)


def test_nothing_labelled_has_no_precision():
    nothing = np.zeros((2, 1, 2), dtype=np.int64)
    counts = FoldCounts(nothing, nothing, np.ones((2, 2), dtype=np.int64), (0, 1), 0)
    assert np.isnan(counts.precision[0]).all()
    assert counts.kept[0] == 0
    assert counts.miou[0] == 0
    assert counts.recall[0] == 0


def test_without_an_object_there_is_no_recall():
    pixels = np.array([[[3, 0, 0]], [[4, 0, 5]]])
    counts = FoldCounts(pixels, pixels, pixels[:, 0], (0, 1), 0)  # class 2 does not count
    assert np.isnan(counts.recall[0]).all()
    assert np.isnan(jackknife(counts.recall[1])).all()
