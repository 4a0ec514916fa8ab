"""Precision of kept labels: promises that hold pass, broken ones fail."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from conformal_plugin import Calibration, Evaluation, calibrate, calibrate_precision, evaluate
from conformal_plugin.errors import OptionError
from conformal_plugin.testing import (
    PrecisionError,
    assert_image_precision,
    assert_precision,
    assert_promise_rate,
)

EPSILON, PIXELS = 0.1, 64


def counts(images: int, risk: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Kept and wrong pixels of images whose own risks vary strongly around ``risk``."""
    kept = rng.integers(0, PIXELS + 1, images)
    return rng.binomial(kept, rng.beta(0.5, 0.5 / risk - 0.5, images)), kept


def test_a_promise_that_holds_passes_and_a_broken_one_fails() -> None:
    rng = np.random.default_rng(0)
    assert_image_precision(*counts(245, EPSILON, rng), epsilon=EPSILON)
    wrong, kept = counts(245, 2.5 * EPSILON, rng)
    with pytest.raises(PrecisionError, match="the unit is the image") as caught:
        assert_image_precision(wrong, kept, epsilon=EPSILON)
    error = caught.value
    assert error.observed == pytest.approx((wrong / np.maximum(kept, 1)).mean())
    assert (error.epsilon, error.n_test, error.false_alarm) == (EPSILON, 245, 1e-3)
    assert error.p_value <= 1e-3
    assert isinstance(error, AssertionError)
    for part in ("at most 0.1 is promised", "245 test images", "0.001", "probability delta"):
        assert part in str(error)


def test_with_ids_the_order_of_images_does_not_matter() -> None:
    rng = np.random.default_rng(1)
    wrong, kept = counts(100, 2.5 * EPSILON, rng)
    names = np.array([f"photo-{i}" for i in range(100)])
    p_values = set()
    for _ in range(3):
        order = rng.permutation(100)
        with pytest.raises(PrecisionError) as caught:
            assert_image_precision(
                wrong[order], kept[order], epsilon=EPSILON, ids=names[order], false_alarm=0.05
            )
        p_values.add(caught.value.p_value)
    assert len(p_values) == 1


def test_ids_name_each_measured_image_once() -> None:
    settings = {"epsilon": EPSILON}
    assert_image_precision([0, 1], [9, 9], ids=["a", "b"], **settings)
    for ids in (["a"], ["a", "a"], ["a", "b", "c"]):
        with pytest.raises(OptionError, match="ids must be 2 different ones"):
            assert_image_precision([0, 1], [9, 9], ids=ids, **settings)
    with pytest.raises(OptionError, match="ids must be 200 different ones"):
        assert_precision(evaluate(*labelled(0.05), 0.5), EPSILON, ids=range(199))


@pytest.mark.parametrize(("images", "epsilon", "repeats"), [(5, 0.3, 2000), (93, 0.1, 3000)])
def test_losses_have_no_say_in_the_order(images: int, epsilon: float, repeats: int) -> None:
    """Whole images right or wrong: an order that begins with sorted losses alarms too often."""
    rng, rate = np.random.default_rng(images), 0.1
    kept = np.full(images, 16)
    alarms = 0
    for _ in range(repeats):
        try:
            wrong = 16 * (rng.random(images) < epsilon)
            assert_image_precision(wrong, kept, epsilon=epsilon, false_alarm=rate)
        except PrecisionError:
            alarms += 1
    assert alarms <= scipy.stats.binom.isf(1e-5, repeats, rate)


def test_evaluations_keep_the_order_of_arrival_for_the_bets() -> None:
    """As above from maps to alarm: nothing on the way may sort images by what is measured."""
    rng, rate, repeats, images = np.random.default_rng(6), 0.1, 1500, 5
    labels = np.zeros((images, 1, 2), dtype=int)
    alarms = 0
    for _ in range(repeats):
        shown = rng.random((images, 1, 1)) < 0.3
        maps = np.stack([0.9 - 0.8 * shown, 0.1 + 0.8 * shown], axis=1).repeat(2, axis=3)
        try:
            assert_precision(evaluate(maps, labels, 0.5), 0.3, false_alarm=rate)
        except PrecisionError:
            alarms += 1
    assert alarms <= scipy.stats.binom.isf(1e-5, repeats, rate)


def test_false_alarms_stay_below_the_stated_rate() -> None:
    """Risk exactly epsilon, the images' own risks far apart: pixels are not independent."""
    rng, rate, repeats = np.random.default_rng(2), 0.05, 300
    alarms = 0
    for _ in range(repeats):
        # One kept pixel at least, so that the mean of wrong / kept is epsilon to the digit.
        kept = rng.integers(1, PIXELS + 1, 60)
        wrong = rng.binomial(kept, rng.beta(0.5, 4.5, 60))
        try:
            assert_image_precision(wrong, kept, epsilon=EPSILON, false_alarm=rate)
        except PrecisionError:
            alarms += 1
    assert alarms <= scipy.stats.binom.isf(1e-5, repeats, rate)


def labelled(share_wrong: float, images: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(4)
    labels = rng.integers(0, 2, (images, 4, 4))
    shown = np.where(rng.random((images, 1, 1)) < share_wrong, 1 - labels, labels)
    maps = np.stack([0.9 - 0.8 * shown, 0.1 + 0.8 * shown], axis=1)
    maps[:, :, 0] = 0.1  # the first row is in no set, so it is dropped
    return maps, labels


def test_evaluations_are_tested_image_by_image() -> None:
    good, bad = (evaluate(*labelled(share), 0.5) for share in (0.05, 0.5))
    assert good.kept == 0.75
    assert_precision(good, EPSILON)
    with pytest.raises(PrecisionError, match="of 2400 kept pixels") as caught:
        assert_precision(bad, EPSILON)
    assert caught.value.observed == pytest.approx(1 - bad.precision)


@pytest.mark.parametrize("weighting", ["share", "pixel", "macro"])
def test_a_calibration_says_what_to_test(weighting: str) -> None:
    maps, labels = labelled(0.02)
    calibration = calibrate_precision(maps, labels, EPSILON, weighting=weighting)
    assert np.all(np.asarray(calibration.qhat) > 0)
    assert (calibration.max_pixels == 16) == (weighting == "pixel")
    assert Calibration.from_json(calibration.to_json()) == calibration
    assert_precision(evaluate(*labelled(0.05), calibration), calibration)
    with pytest.raises(PrecisionError, match="too many to be chance: at most 0.1 is promised"):
        assert_precision(evaluate(*labelled(0.4), calibration), calibration)


def test_the_average_is_the_promised_one() -> None:
    """Two kinds of images: many kept, all right; few kept, all wrong."""
    labels = np.zeros((200, 4, 4), dtype=int)
    shown = np.zeros_like(labels)
    shown[::2] = 1
    maps = np.stack([0.9 - 0.8 * shown, 0.1 + 0.8 * shown], axis=1)
    maps[::2, :, 1:] = 0.1  # where the label is wrong, one row of four is kept
    evaluation = evaluate(maps, labels, 0.5, rule="most-probable")
    assert evaluation.precision == 0.8
    assert_precision(evaluation, 0.25)  # a fifth of the kept labels is wrong
    with pytest.raises(PrecisionError):
        assert_precision(evaluation, 0.1)
    wrong, kept = evaluation.image_wrong, evaluation.image_kept
    with pytest.raises(PrecisionError, match="0.5 of the kept labels are wrong"):
        assert_image_precision(wrong, kept, epsilon=0.25)  # but half of the images' own shares


def test_small_failures_are_seen_where_images_are_alike() -> None:
    """The sums alone would need a bound on every image's size, and see less."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 2, (245, 8, 8))
    shown = np.where(rng.random(labels.shape) < 0.07, 1 - labels, labels)
    maps = np.stack([0.9 - 0.8 * shown, 0.1 + 0.8 * shown], axis=1)
    with pytest.raises(PrecisionError):
        assert_precision(evaluate(maps, labels, 0.5), 0.05)


def test_nothing_kept_breaks_no_promise() -> None:
    nothing = evaluate(*labelled(0.5), 0.05)
    assert nothing.kept_pixels == 0
    assert_precision(nothing, EPSILON)
    assert_image_precision([0, 0], [0, 0], epsilon=EPSILON)


def test_the_level_holds_at_its_boundary() -> None:
    """Whole images wrong with probability epsilon: the worst law that the promise allows."""
    rng, rate, repeats = np.random.default_rng(3), 0.05, 400
    alarms = 0
    for _ in range(repeats):
        wrong = 4 * (rng.random(100) < EPSILON)
        total = int(wrong.sum())
        evaluation = Evaluation(
            confusion=np.array([[400 - total, 0, 0], [total, 0, 0]]),
            set_sizes=np.array([0, 400, 0]),
            image_pixels=np.full(100, 4),
            image_covered=4 - wrong,
            image_kept=np.full(100, 4),
            image_wrong=wrong,
            rule="most-probable",
        )
        try:
            assert_precision(evaluation, EPSILON, false_alarm=rate)
        except PrecisionError:
            alarms += 1
    # Betting is not exact, so the level is not used up; but it is not idle either.
    assert 0 < alarms <= scipy.stats.binom.isf(1e-5, repeats, rate)


def test_promises_over_runs() -> None:
    assert_promise_rate(0, 10, delta=0.1)
    most = int(scipy.stats.binom.isf(1e-3, 1000, 0.1))
    assert_promise_rate(most, 1000, delta=0.1)
    with pytest.raises(PrecisionError, match=f"allows {most} runs by chance") as caught:
        assert_promise_rate(most + 1, 1000, delta=0.1)
    assert 0 < caught.value.p_value <= 1e-3


def test_bad_arguments() -> None:
    with pytest.raises(OptionError, match="epsilon must be"):
        assert_image_precision([1], [2], epsilon=0)
    with pytest.raises(OptionError, match="one count per image"):
        assert_image_precision([1], [2, 3], epsilon=EPSILON)
    with pytest.raises(OptionError, match="integer counts of pixels, not shares"):
        assert_image_precision([0.1], [2], epsilon=EPSILON)
    with pytest.raises(OptionError, match="wrong must lie between 0 and kept"):
        assert_image_precision([3], [2], epsilon=EPSILON)
    maps, labels = labelled(0.02)
    with pytest.raises(OptionError, match="is an epsilon, must be a number strictly"):
        assert_precision(evaluate(maps, labels, 0.5), 1.0)
    with pytest.raises(OptionError, match="'pixel-marginal' promises no precision"):
        assert_precision(evaluate(maps, labels, 0.5), calibrate(maps, labels, 0.1))
    smaller = calibrate_precision(maps, labels, 0.2, weighting="pixel", max_pixels=16)
    larger = np.repeat(maps, 2, axis=2), np.repeat(labels, 2, axis=1)
    with pytest.raises(OptionError, match="at most 16 pixels, and a test image has 32"):
        assert_precision(evaluate(*larger, smaller), smaller)
    with pytest.raises(OptionError, match="broken must be an integer from 0 to 5, got 6"):
        assert_promise_rate(6, 5, delta=0.1)
    with pytest.raises(OptionError, match="delta must be"):
        assert_promise_rate(1, 5, delta=1.0)
