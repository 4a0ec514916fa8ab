"""The measures are those of ``Evaluation``; standard errors are real ones."""

from __future__ import annotations

import numpy as np
import pytest

from conformal_plugin import evaluate
from conformal_plugin.choosing._label_counts import LabelCounts
from conformal_plugin.choosing._measures import FoldCounts, jackknife

NAMES = ("information", "miou", "precision", "kept", "recall")


def folds(rng, count, classes=3, candidates=2):
    """Tables of pixels by candidate, true class and label; some are dropped."""
    true = rng.integers(5, 40, (count, classes))
    tables = np.zeros((count, candidates, classes, classes), dtype=np.int64)
    for fold, candidate, c in np.ndindex(count, candidates, classes):
        shares = rng.dirichlet(np.ones(classes + 1) + 3 * (np.arange(classes + 1) == c))
        tables[fold, candidate, c] = rng.multinomial(true[fold, c], shares)[:-1]
    return tables, true


def counts_of(tables, true, classes=(0, 1, 2), background=0):
    return FoldCounts([LabelCounts.of(table) for table in tables], true, classes, background)


def information(table, true):
    """By its definition, with logarithms of shares."""
    kept = table.sum()
    joint = table / kept
    product = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    tells = sum(p * np.log(p / q) for p, q in zip(joint.flat, product.flat) if p > 0)
    shares = true[true > 0] / true.sum()
    return tells * kept / true.sum() / -(shares * np.log(shares)).sum()


def test_they_are_those_of_an_evaluation():
    rng = np.random.default_rng(0)
    scores = rng.random((4, 3, 9, 9)).astype(np.float32)
    labels = rng.integers(0, 3, (4, 9, 9))
    result = evaluate(scores, labels, 0.4, rule="most-probable")
    confusion = result.confusion
    one = counts_of(confusion[None, None, :, :-1], confusion.sum(axis=1)[None], (0, 2))
    assert one.miou[0] == pytest.approx([result.miou([0, 2])])
    assert one.precision[0] == pytest.approx([result.precision])
    assert one.kept[0] == pytest.approx([result.kept])
    assert one.recall[0] == pytest.approx([confusion[2, 2] / confusion[2].sum()])
    expected = information(confusion[:, :-1], confusion.sum(axis=1))
    assert one.information[0] == pytest.approx([expected])


def test_information_is_that_of_the_definition():
    tables, true = folds(np.random.default_rng(7), 4)
    counts = counts_of(tables, true)
    for c in range(2):
        total = tables[:, c].sum(axis=0)
        assert counts.information[0][c] == pytest.approx(information(total, true.sum(axis=0)))


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ([[5, 0], [0, 5]], 1.0),  # all is told
        ([[0, 5], [5, 0]], 1.0),  # mixed up, and tells as much
        ([[5, 0], [5, 0]], 0.0),  # one label everywhere
        ([[2, 2], [2, 2]], 0.0),  # chance
        ([[1, 0], [0, 1]], 0.2),  # a fifth of the pixels, all right
        ([[0, 0], [0, 0]], 0.0),  # nothing kept
    ],
)
def test_what_tells_how_much(table, expected):
    counts = counts_of(np.array([[table]] * 2), np.array([[5, 5]] * 2), (0, 1))
    assert counts.information[0] == pytest.approx([expected])
    mixed_up = table == [[0, 5], [5, 0]]
    right = table in ([[5, 0], [0, 5]], [[1, 0], [0, 1]])
    assert counts.more_right_than_wrong.tolist() == [right]
    assert not (mixed_up and right)


def test_one_class_alone_is_nothing_to_tell():
    counts = counts_of(np.array([[[[5, 0], [0, 0]]]] * 2), np.array([[5, 0]] * 2), (0, 1))
    assert np.isnan(counts.information[0]).all()


def test_without_a_fold_is_what_the_others_give():
    tables, true = folds(np.random.default_rng(1), 6)
    counts, others = counts_of(tables, true), counts_of(tables[1:], true[1:])
    for name in NAMES:
        np.testing.assert_allclose(getattr(counts, name)[1][0], getattr(others, name)[0])


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(2).normal(size=30)
    without = (values.sum() - values) / 29
    assert jackknife(without) == pytest.approx(values.std(ddof=1) / np.sqrt(30))


def test_standard_errors_are_the_spread_between_draws():
    """The estimated error of a ratio agrees with what repeated draws of images show."""
    rng = np.random.default_rng(3)
    draws = [counts_of(*folds(rng, 60)) for _ in range(300)]
    for name in NAMES:
        spread = np.std([getattr(d, name)[0] for d in draws], axis=0)
        estimated = np.mean([jackknife(getattr(d, name)[1]) for d in draws], axis=0)
        np.testing.assert_allclose(estimated, spread, rtol=0.2)


def test_nothing_labelled_has_no_precision():
    nothing = np.zeros((2, 1, 2, 2), dtype=np.int64)
    counts = counts_of(nothing, np.ones((2, 2), dtype=np.int64), (0, 1))
    assert np.isnan(counts.precision[0]).all()
    assert counts.kept[0] == 0
    assert counts.miou[0] == 0
    assert counts.recall[0] == 0


def test_without_an_object_there_is_no_recall():
    pixels = np.array([[3, 0, 0], [4, 0, 5]])
    tables = np.array([[np.diag(row)] for row in pixels])
    counts = counts_of(tables, pixels, (0, 1))  # class 2 does not count
    assert np.isnan(counts.recall[0]).all()
    assert np.isnan(jackknife(counts.recall[1])).all()
