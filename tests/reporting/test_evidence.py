"""What a report gathers: lost pixels add up to what is not covered, images are ranked."""

from __future__ import annotations

import numpy as np
import pytest

from conformal_plugin import calibrate, evaluate, filter, prediction_sets
from conformal_plugin.errors import EmptyCalibrationError
from conformal_plugin.reporting import gather


@pytest.mark.parametrize("rule", ["foreground-first", "singleton"])
def test_it_agrees_with_the_library(rule):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, (5, 8, 8))
    labels[:, 0] = 255
    labels[2] = 255
    scores = rng.random((5, 3, 8, 8)).astype(np.float32)
    calibration = calibrate(scores, labels, 0.3)
    evidence = gather(list(scores), list(labels), calibration, rule=rule)
    assert evidence.evaluation == evaluate(scores, labels, calibration, rule=rule)
    covered, pixels = evidence.evaluation.covered, evidence.evaluation.n_pixels
    assert evidence.lost.sum() == pixels - covered > 0

    sets = prediction_sets(scores, calibration)
    kept = filter(scores, calibration, rule=rule)
    used = labels != 255
    member = np.take_along_axis(sets, np.where(used, labels, 0)[:, None], axis=1)[:, 0]
    missed = used & ~member
    assert evidence.lost[1, 2] == (missed & (labels == 1) & (kept == 2)).sum()
    assert evidence.lost[0, 3] == (missed & (labels == 0) & (kept == 255)).sum()
    for i in (0, 1, 3, 4):
        assert evidence.right[i] == pytest.approx((kept == labels)[i][used[i]].mean())
    assert np.isnan(evidence.right[2])
    ranked = evidence.ranked()
    assert sorted(ranked) == [0, 1, 3, 4]
    assert list(evidence.right[ranked]) == sorted(evidence.right[ranked], reverse=True)


def test_nothing_to_report_on():
    rng = np.random.default_rng(0)
    calibration = calibrate(rng.random((2, 3, 4, 4)), rng.integers(0, 3, (2, 4, 4)), 0.3)
    with pytest.raises(EmptyCalibrationError, match="no image to report on"):
        gather([], [], calibration, rule="singleton")
