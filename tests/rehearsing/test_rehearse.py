"""A rehearsal says what pseudo-labels bring on photos that no student has seen."""

from __future__ import annotations

import json
import math
from collections import Counter

import numpy as np
import pytest
import torch

from conformal_plugin.errors import (
    EmptyCalibrationError,
    InputTypeError,
    LabelError,
    OptionError,
    ScoreError,
    ShapeError,
)
from conformal_plugin.rehearsing import (
    Training,
    _probe,
    _rehearse,
    _sampling,
    loss_of_labels,
    rehearse,
)

CLASSES = 3


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Points this easy are learnt in a few steps."""
    monkeypatch.setattr(_probe, "_STEPS", 40)
    monkeypatch.setattr(_probe, "_BATCH", 128)


def photos(count, seed, noise=1.2, size=8):
    """Features that say their class through noise, and the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, CLASSES, (count, size, size))
    features = rng.normal(0, noise, (count, 6, size, size)).astype(np.float32)
    features[:, :CLASSES] += truth[:, None] == np.arange(CLASSES)[None, :, None, None]
    return list(features), list(truth)


@pytest.fixture(scope="module")
def few():
    """Few labelled photos and many others, with their truth."""
    return photos(6, 0), photos(40, 1)


def test_right_labels_help_and_wrong_ones_do_not(few):
    (features, labels), (more, truth) = few
    right = rehearse(features, labels, more, truth)
    wrong = rehearse(features, labels, more, [(one + 1) % CLASSES for one in truth])
    assert right.gain > right.gain_se > 0
    assert right.worth_using
    assert right.verdict.startswith("Worth using: ")
    assert wrong.gain < -wrong.gain_se < 0
    assert not wrong.worth_using
    assert wrong.verdict.startswith("Not worth it here: ")
    assert right.miou_alone == wrong.miou_alone  # no student of these sees pseudo-labels
    assert (right.n_labelled, right.n_unlabelled, right.n_groups) == (6, 40, None)
    assert (right.folds, right.deals, right.classes, right.kept) == (5, 3, (0, 1, 2), 1.0)


def test_it_is_the_same_again_whatever_the_threads(few):
    (features, labels), (more, truth) = few
    before = torch.get_num_threads()
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            found.append(rehearse(features, labels, more, truth, deals=1))
        finally:
            torch.set_num_threads(before)
    assert found[0] == found[1]
    assert rehearse(features, labels, more, truth, deals=1, seed=1) != found[0]


def test_tensors_give_what_arrays_give(few):
    (features, labels), (more, truth) = few
    arrays = rehearse(features, labels, more, truth, deals=1)
    tensors = ([torch.from_numpy(one) for one in part] for part in (features, labels, more, truth))
    assert rehearse(*tensors, deals=1) == arrays


def test_every_photo_is_left_out_once_a_deal_and_groups_are_whole():
    units = np.array([0, 0, 1, 2, 2, 2, 3, 4, 5])
    dealt = _rehearse._dealt(units, 3, 4, np.random.default_rng(0))
    assert dealt.shape == (4, 9)
    for one in dealt:
        for unit in range(6):
            assert len(set(one[units == unit])) == 1
        assert sorted(Counter(one[np.unique(units, return_index=True)[1]]).values()) == [2, 2, 2]
    assert len({tuple(one) for one in dealt}) > 1


@pytest.mark.parametrize("grouped", [False, True])
def test_no_student_sees_a_photo_that_it_is_measured_on(few, monkeypatch, grouped):
    (_, labels), (more, truth) = few
    number = [np.full((6, 8, 8), float(i), np.float32) for i in range(6)]
    monkeypatch.setattr(
        _rehearse.Directions,
        "of",
        lambda sample: type("Same", (), {"along": staticmethod(lambda one: one)}),
    )
    seen, measured = {}, {}
    students = []

    def train(student, features, labels, others, *, seed):
        seen[id(student)] = set(features[:, 0].tolist())
        students.append(student)
        return student

    def counted(student, features, truth, classes, ignore_index):
        measured.setdefault(id(student), set()).update(features[:, 0].tolist())
        return np.zeros((classes, classes), np.int64)

    monkeypatch.setattr(_rehearse, "train_probe", train)
    monkeypatch.setattr(_rehearse, "confusion", counted)
    monkeypatch.setattr(_rehearse, "_chosen", lambda classes, holds: (0,))
    groups = list("aabbcc") if grouped else None
    rehearse(number, labels, more, truth, folds=3, deals=2, groups=groups)
    assert len(students) == 3 * 2 * 2
    for student in students:
        mine, others = seen[id(student)], measured[id(student)]
        assert not mine & others
        assert mine | others == set(map(float, range(6)))
        if grouped:
            assert {int(i) // 2 for i in mine}.isdisjoint(int(i) // 2 for i in others)


def test_figures_are_those_of_their_definition(few, monkeypatch):
    """mIoU of pooled points, its jackknife over photos or groups, classes that photos hold."""
    (features, labels), (more, truth) = few
    rng = np.random.default_rng(5)
    alone, together = rng.integers(1, 50, (2, 6, 3, 3))
    alone[:, 2] = together[:, 2] = 0  # a class that no labelled photo holds
    monkeypatch.setattr(_rehearse, "_trained", lambda *given: (alone, together))

    def miou(tables):
        total = tables.sum(0)
        return np.mean([total[c, c] / (total[c].sum() + total[:, c].sum() - total[c, c])
                        for c in (0, 1)])  # fmt: skip

    def gain(which):
        return miou(together[which]) - miou(alone[which])

    everything = np.arange(6)
    found = rehearse(features, labels, more, truth)
    assert found.classes == (0, 1)
    assert found.miou == pytest.approx(miou(together))
    assert found.gain == pytest.approx(gain(everything))
    without = np.array([gain(everything != i) for i in everything])
    assert found.gain_se == pytest.approx(
        math.sqrt(5 / 6 * ((without - without.mean()) ** 2).sum())
    )
    assert math.isnan(found.iou[2])
    assert json.loads(found.to_json())["iou"][2] is None

    grouped = rehearse(features, labels, more, truth, groups=list("aabbcd"), folds=4)
    kinds = np.array([0, 0, 1, 1, 2, 3])
    without = np.array([gain(kinds != kind) for kind in range(4)])
    expected = math.sqrt(3 / 4 * ((without - without.mean()) ** 2).sum())
    assert grouped.gain_se == pytest.approx(expected)
    assert grouped.n_groups == 4
    assert "6 photos of 4 groups" in grouped.verdict


def test_a_gain_counts_from_half_of_its_error_on(few, monkeypatch):
    (features, labels), (more, truth) = few
    found = rehearse(features, labels, more, truth, deals=1)

    def of(gain):
        return type(found)(**{**vars(found), "gain": gain, "gain_se": 0.02})

    assert [of(gain).worth_using for gain in (-0.1, 0.0, 0.01, 0.011, 0.1)] == [
        *(False, False, False),
        *(True, True),
    ]
    assert "hardly tell" in of(0.011).verdict
    assert "hardly tell" not in of(0.03).verdict
    assert not of(math.nan).worth_using


def test_classes_that_five_photos_hold_are_taken():
    holds = np.array([[1, 1, 0]] * 4 + [[1, 0, 1]], dtype=bool)
    assert _rehearse._chosen(None, holds) == (0,)
    assert _rehearse._chosen(None, holds[:3]) == (0, 1)
    assert _rehearse._chosen([2, 0], holds) == (0, 2)
    for wrong in ([], [3], [-1]):
        with pytest.raises(OptionError, match=r"classes must be some .* \[0, 1, 2\]"):
            _rehearse._chosen(wrong, holds)
    with pytest.raises(OptionError, match="labelled photos hold"):
        _rehearse._chosen([2], holds[:3])


def test_trainings_can_be_followed(few):
    (features, labels), (more, truth) = few
    seen = []

    def follow(trainings):
        assert len(trainings) == 3 * 1 * 2
        for one in trainings:
            seen.append(one)
            yield one

    rehearse(features, labels, more, truth, folds=3, deals=1, follow=follow)
    assert seen == [
        Training(0, fold, with_them) for fold in range(3) for with_them in (False, True)
    ]


def test_dropped_pixels_teach_nothing(few):
    (features, labels), (more, truth) = few
    dropped = [np.full_like(one, 255) for one in truth]
    dropped[0] = truth[0]  # most batches of a training have few of these, some of them none
    found = rehearse(features, labels, more, dropped, deals=1)
    assert found.kept == pytest.approx(1 / 40)
    logits = torch.randn(4, 3, requires_grad=True)
    loss = loss_of_labels(torch.tensor([255, 255, 1]), 255)
    nothing = loss(None, logits, torch.tensor([0, 1, 0, 1]), 0.0)
    nothing.backward()
    assert nothing == 0
    assert not logits.grad.any()
    some = loss(None, logits, torch.tensor([0, 2, 2, 1]), 0.0)
    expected = torch.nn.functional.cross_entropy(logits[1:3], torch.tensor([1, 1]))
    torch.testing.assert_close(some, expected)
    with pytest.raises(LabelError, match="no point of the unlabelled photos has a pseudo-label"):
        rehearse(features, labels, more, [np.full((8, 8), 255)] * 40)


def test_labels_of_any_size_are_read_at_the_points():
    labels = np.repeat(np.repeat(np.arange(12).reshape(3, 4), 5, 0), 7, 1)  # (15, 28)
    features = [np.zeros((2, 3, 4), np.float32)]
    (found,) = _sampling.points_of(features, [labels], "photo", 255, np.random.default_rng(0))
    assert found.labels.tolist() == list(range(12))
    assert found.features.shape == (12, 2)


def test_of_many_points_some_are_drawn():
    """Feature and label of each point stay together."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (40, 50))
    features = np.stack([truth, truth + 10]).astype(np.float32)
    some = _sampling.points_of([features] * 3, [truth] * 3, "photo", 255, rng)
    assert [len(one.labels) for one in some] == [1024] * 3
    for one in some:
        np.testing.assert_array_equal(one.features[:, 0].numpy(), one.labels)
        np.testing.assert_array_equal(one.features[:, 1].numpy() - 10, one.labels)
    small = [features[:, :10, :10]] * 5000, [truth[:10, :10]] * 5000
    fewer = _sampling.points_of(*small, "photo", 255, rng)
    assert {len(one.labels) for one in fewer} == {64}  # 5000 photos share 2 ** 18 points


GOOD = [np.zeros((4, 8, 8), np.float32)] * 6
TRUTH = [np.zeros((8, 8), np.int64)] * 6


@pytest.mark.parametrize(
    ("changed", "error", "text"),
    [
        ({"labels": TRUTH[:5]}, OptionError, "6 features of labelled photos and 5 label maps"),
        ({"pseudo_labels": []}, OptionError, "6 features of unlabelled photos and 0 pseudo-labels"),
        ({"groups": ["a"]}, OptionError, "1 groups and 6 label maps"),
        ({"groups": ["a"] * 6}, OptionError, "groups, which is 1; got 5"),
        ({"folds": 1}, OptionError, "at least 2 and at most .* which is 6; got 1"),
        ({"folds": 7}, OptionError, "got 7"),
        ({"deals": 0}, OptionError, "deals must be at least 1"),
        ({"classes": [4]}, OptionError, "classes must be some"),
        ({"features": [], "labels": []}, OptionError, "folds must be"),
        ({"unlabelled": [], "pseudo_labels": []}, OptionError, "there is no unlabelled photo"),
        ({"unlabelled": [np.zeros((5, 8, 8))] * 6}, OptionError, "channels; got 4 and 5"),
        ({"features": [np.zeros((4, 64))] * 6}, ShapeError, r"\(C, h, w\) .* got \(4, 64\)"),
        ({"features": [np.zeros((4, 8, 8), int)] * 6}, InputTypeError, "must be floating-point"),
        ({"features": [np.full((4, 8, 8), np.nan)] * 6}, ScoreError, "labelled photo 0 are NaN"),
        ({"features": [np.full((4, 8, 8), 1e6)] * 6}, ScoreError, "beyond what float16 holds"),
        ({"features": ["no"] * 6}, InputTypeError, "features of labelled photo 0"),
        ({"labels": [np.zeros((2, 8, 8), int)] * 6}, ShapeError, r"must be \(H, W\)"),
        ({"labels": [np.zeros((8, 8))] * 6}, InputTypeError, "must be integers"),
        ({"labels": [np.full((8, 8), -1)] * 6}, LabelError, "hold -1"),
        ({"pseudo_labels": [np.full((8, 8), 1000)] * 6}, LabelError, "photo 0 hold 1000"),
        ({"labels": [np.full((8, 8), 255)] * 6}, EmptyCalibrationError, "nothing to learn from"),
    ],
)  # fmt: skip
def test_bad_input_is_refused(changed, error, text):
    given = {"features": GOOD, "labels": TRUTH, "unlabelled": GOOD, "pseudo_labels": TRUTH}
    with pytest.raises(error, match=text):
        rehearse(**{**given, **changed})
