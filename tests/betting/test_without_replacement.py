"""The promise for the unlabelled images at hand: betting without replacement keeps its level."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from conformal_plugin.betting import betting_pvalue, betting_pvalue_without_replacement
from conformal_plugin.errors import OptionError
from conformal_plugin.evaluation import evaluate
from conformal_plugin.precision import (
    calibrate_precision,
)
from conformal_plugin.testing import assert_promise_rate


@pytest.mark.parametrize("delta", [0.01, 0.1])
@pytest.mark.parametrize(
    ("labelled", "unlabelled", "epsilon"), [(60, 60, 0.1), (60, 240, 0.1), (30, 10, 0.3)]
)
def test_wrong_more_often_than_epsilon_is_certified_at_most_at_delta(
    labelled: int, unlabelled: int, epsilon: float, delta: float
) -> None:
    """Whole images wrong or right, as many in the pool as make the mistake most likely."""
    rng, runs, total = np.random.default_rng(1), 20_000, labelled + unlabelled
    for share in (1.0, 1.2):  # of epsilon, in the whole pool
        wrong = round(share * epsilon * total)
        pool = (np.arange(total) < wrong).astype(float)
        losses = rng.permuted(np.tile(pool, (runs, 1)), axis=1)[:, :labelled].T
        others = (wrong - losses.sum(axis=0)) / unlabelled
        p = betting_pvalue_without_replacement(losses, epsilon, unlabelled=unlabelled, aim=delta)
        broken = int(((p <= delta) & (others > epsilon)).sum())
        # With a level of exactly delta this fails once in a million.
        assert broken <= binom.isf(1e-6, runs, delta)


def test_of_many_others_it_is_the_promise_about_the_population() -> None:
    losses = np.random.default_rng(2).random((80, 5)) * 0.1
    for column in losses.T:
        near = betting_pvalue_without_replacement(column, 0.1, unlabelled=10**9)
        far = betting_pvalue_without_replacement(column, 0.1, unlabelled=40)
        assert near <= far  # with few others, the labelled ones say less about them than it seems
        assert near >= betting_pvalue(column, 0.1) * 0.999  # its bets are a little smaller


def test_the_calibrated_promise_is_kept_on_the_unlabelled() -> None:
    """150 draws of the labelled ones from one pool: of all labels more than epsilon are wrong."""
    rng, images, labelled, epsilon, delta = np.random.default_rng(3), 240, 80, 0.15, 0.1
    truth = np.ones((images, 5, 4), dtype=int)
    sure = np.where(np.arange(images) % 10 < 7, 0.97, 0.6)
    wrong = rng.random(images) < np.where(sure > 0.9, 0.03, 0.5)
    right = np.where(wrong, 1 - sure, sure)[:, None, None] * np.ones((1, 5, 4))
    maps = np.stack([1 - right, right], axis=1)
    assert epsilon < wrong.mean() < 0.2
    broken = kept = 0
    for _ in range(150):
        order = rng.permutation(images)
        ours, others = order[:labelled], order[labelled:]
        calibration = calibrate_precision(
            maps[ours],
            truth[ours],
            epsilon,
            delta,
            rule="most-probable",
            unlabelled_images=len(others),
        )
        result = evaluate(maps[others], truth[others], calibration)
        broken += int((result.image_wrong - epsilon * result.image_kept).sum() > 0)
        kept += result.kept_pixels > 0
    assert kept > 75
    assert_promise_rate(broken, 150, delta=delta)


def test_it_says_what_it_is_about_and_what_it_needs() -> None:
    maps = np.zeros((60, 2, 4, 4), dtype=np.float16)
    maps[:, 1] = 1.0
    labels = np.ones((60, 4, 4), dtype=int)
    calibration = calibrate_precision(maps, labels, 0.1, unlabelled_images=300)
    assert "in the 300 unlabelled images" in calibration.guarantee.statement
    assert "which of all these images were labelled was drawn at random" in str(
        calibration.guarantee.statement
    )
    for wrong in (0, -3, 2.0, True):
        with pytest.raises(OptionError, match="unlabelled_images must be a positive integer"):
            calibrate_precision(maps, labels, 0.1, unlabelled_images=wrong)
    with pytest.raises(OptionError, match="made by betting without replacement"):
        calibrate_precision(maps, labels, 0.1, unlabelled_images=9, test="hoeffding-bentkus")
