"""The figures of a photo: what the library's own sets and labels say of it."""

from __future__ import annotations

import numpy as np
import pytest

from conformal_plugin import calibrate, filter, prediction_sets
from conformal_plugin.errors import ShapeError, UninformativeThresholdError
from conformal_plugin.review import photo_figures
from conformal_plugin.scores import ScoreParts


@pytest.fixture
def calibration():
    """A threshold of 0.5 on three classes."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (4, 8, 8))
    scores = 0.5 * rng.random((4, 3, 8, 8)) + 0.4 * (labels[:, None] == np.arange(3)[:, None, None])
    return calibrate(scores.astype(np.float32), labels, alpha=0.3)


class Rows(ScoreParts):
    """A map, two rows at a time."""

    def __init__(self, scores):
        self._scores = scores
        self.shape, self.dtype = scores.shape, scores.dtype

    def parts(self):
        for top in range(0, self.shape[1], 2):
            yield self._scores[:, top : top + 2]


@pytest.mark.parametrize("rule", ["foreground-first", "most-probable", "singleton"])
def test_they_are_of_the_librarys_sets_and_labels(calibration, rule):
    scores = np.random.default_rng(1).random((3, 6, 5), dtype=np.float32)
    found = photo_figures(scores, calibration, rule=rule)
    labels = filter(scores, calibration, rule=rule)
    assert found.pixels == 30
    assert found.set_size == pytest.approx(prediction_sets(scores, calibration).sum(0).mean())
    assert found.unsure == pytest.approx(1 - scores.max(axis=0).astype(float).mean())
    assert found.lost == pytest.approx((labels == 255).mean())
    assert found.labels == {c: n for c in range(3) if (n := int((labels == c).sum()))}


def test_volumes_parts_and_whole_numbers(calibration):
    scores = np.random.default_rng(1).random((3, 6, 5), dtype=np.float32)
    whole = photo_figures(scores, calibration)
    assert photo_figures(Rows(scores), calibration) == whole
    volume = np.stack([scores, scores], axis=1)
    twice = photo_figures(volume[None], calibration)
    assert (twice.pixels, twice.lost) == (60, whole.lost)
    assert twice.labels == {c: 2 * n for c, n in whole.labels.items()}
    eight = (scores * 255).astype(np.uint8)
    assert photo_figures(eight, calibration).unsure == pytest.approx(whole.unsure, abs=0.01)


def test_a_photo_in_which_every_class_is_in_every_set(calibration):
    found = photo_figures(np.ones((3, 2, 2), np.float32), calibration)
    assert (found.set_size, found.lost, found.labels) == (3, 1, {})


def test_what_is_refused(calibration):
    with pytest.raises(ShapeError):
        photo_figures(np.ones((2, 2, 2), np.float32), calibration)
    wide = type(calibration)(**{**vars(calibration), "qhat": 1.0})
    with pytest.raises(UninformativeThresholdError):
        photo_figures(np.random.default_rng(0).random((3, 2, 2)), wide)
