"""Every class in every set: garbage of an unknown rule, the annotator's label of a known one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from conformal_plugin import calibrate, calibrate_precision, filter
from conformal_plugin.errors import UninformativeThresholdError

SCORES = np.stack([np.full((4, 4), 0.45, np.float32), np.full((4, 4), 0.55, np.float32)])


def calibration(rule):
    rng = np.random.default_rng(0)
    found = calibrate(rng.random((4, 2, 8, 8)), rng.integers(0, 2, (4, 8, 8)), 0.2)
    return replace(found, qhat=0.6, rule=rule, background=None if rule is None else 0)


@pytest.mark.parametrize("as_kind", [np.asarray, torch.from_numpy])
def test_a_calibration_for_most_probable_gives_the_annotators_label(as_kind):
    labels = filter(as_kind(SCORES), calibration("most-probable"))
    np.testing.assert_array_equal(np.asarray(labels), 1)


@pytest.mark.parametrize("rule", [None, "foreground-first", "singleton"])
def test_others_are_refused(rule):
    with pytest.raises(UninformativeThresholdError, match="every one of the 2 classes"):
        filter(SCORES, calibration(rule))
    with pytest.raises(UninformativeThresholdError):
        filter(SCORES, 0.6, rule="most-probable")  # a number was certified for nothing


def test_a_certified_precision_is_no_error():
    """An annotator that is always right, and of some images unsure throughout."""
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, (60, 8, 8))
    right = labels[:, None] == np.arange(2)[:, None, None]
    sure = rng.uniform(0.6, 1.0, (60, 1, 8, 8))
    sure[0] = 0.55
    scores = np.where(right, sure, 1 - sure).astype(np.float32)
    found = calibrate_precision(scores, labels, 0.15, rule="most-probable")
    assert found.qhat > 0.55
    np.testing.assert_array_equal(filter(scores[0], found), labels[0])
