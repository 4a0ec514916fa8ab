"""Labels are set beside the most probable class and the truth, and what is odd of them is said."""

from __future__ import annotations

import numpy as np
import pytest

from conformal_plugin import calibrate, filter
from conformal_plugin.choosing import LabelSigns, signs_of
from conformal_plugin.scores import labelled_images

TRUE = np.array([80, 20])
SCORES = np.stack([np.full((10, 10), 0.6), np.full((10, 10), 0.4)])


def remarks(labels, *, truth=None, true=TRUE, background=0):
    signs = LabelSigns(background, 255)
    signs.add(SCORES, labels.astype(np.uint8), truth)
    return signs.remarks(true, background)


def test_labels_as_without_a_filter():
    (told,) = remarks(np.zeros((10, 10)), true=np.array([99, 1]))[:1]
    assert told.startswith("The threshold changes nothing: 100.00 % of the pixels keep")


def test_background_turned_into_objects():
    labels = np.zeros((10, 10))
    labels[:3] = 1
    (told,) = remarks(labels)
    assert "mostly background into object: 30.0 % of the pixels" in told
    truth = np.zeros((10, 10), np.uint8)
    truth[:1] = 1
    truth[9] = 255
    (told,) = remarks(labels, truth=truth)
    assert told.endswith("33.3 % of the pixels are called an object though background is more "
                         "probable; 33 % of these are right.")  # fmt: skip


def test_a_class_that_is_lost():
    labels = np.zeros((10, 10))
    labels[0] = 255
    (told,) = remarks(labels)
    assert told.endswith("class 1 0.0 % instead of 20.0 %.")


@pytest.mark.parametrize(("background", "told"), [(0, True), (1, False), (None, False)])
def test_a_background_that_is_none(background, told):
    labels = np.where(np.arange(100).reshape(10, 10) < 70, 1, 0)
    found = remarks(labels, true=np.array([20, 80]), background=background)
    assert (
        any("is taken for the background, and class 1 is more common" in r for r in found) == told
    )


def test_nothing_odd_is_nothing_said():
    labels = np.zeros((10, 10))
    labels[:2, :8] = 1
    labels[5] = 255
    signs = LabelSigns(None, 255)
    signs.add(SCORES, labels.astype(np.uint8))
    assert signs.remarks(TRUE, None) == []
    assert LabelSigns(0, 255).remarks(TRUE, 0) == []


def test_parts_add_up():
    rng = np.random.default_rng(0)
    scores, labels = rng.random((6, 3, 8, 8)), rng.integers(0, 3, (6, 8, 8))
    calibration = calibrate(scores, labels, 0.3)
    whole = signs_of(labelled_images(scores, labels), calibration)
    first, second = LabelSigns(None, 255), LabelSigns(None, 255)
    for part, some in ((first, range(2)), (second, range(2, 6))):
        for i in some:
            part.add(scores[i], filter(scores[i], calibration), labels[i])
    first.merge(second)
    true = np.bincount(labels.ravel())
    assert first.remarks(true, 0) == whole.remarks(true, 0)
    assert vars(first) == {**vars(whole), "_background": None}
