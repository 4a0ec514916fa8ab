"""Growing sets: the promise over all looks, kept by simulation, and broken by the one-look test.

Seeds are fixed; under another seed a level would be called broken in one run of 1000 (``ALARM``).
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from conformal_plugin import PrecisionCalibrator, calibrate_image_level, calibrate_precision
from conformal_plugin.betting import betting_order, betting_pvalue
from conformal_plugin.errors import OptionError
from conformal_plugin.precision import (
    PrecisionTarget,
    ThresholdPath,
    forecast,
)

ALARM = 1e-3
LOOKS = range(20, 201, 10)


@pytest.mark.parametrize("planned", [40, 100, 400])
def test_any_number_of_looks_spends_delta_once(planned: int) -> None:
    """Losses of mean epsilon: nothing may be certified, at whichever look one stops."""
    runs, epsilon, delta = 4000, 0.1, 0.1
    losses = (np.random.default_rng(planned).random((200, runs)) < epsilon).astype(float)
    once = np.ones(runs)
    for n in LOOKS:
        once = np.minimum(once, betting_pvalue(losses[:n], epsilon, aim=delta, planned=planned))
    assert (once <= delta).sum() <= binom.isf(ALARM, runs, delta)
    # And not by never certifying anything.
    good = betting_pvalue(np.zeros((60, 1)), epsilon, aim=delta, planned=planned)
    assert good[0] < 0.5


def test_the_test_for_one_look_does_not_bear_many() -> None:
    runs, epsilon, delta = 4000, 0.1, 0.1
    losses = (np.random.default_rng(0).random((200, runs)) < epsilon).astype(float)
    once = np.ones(runs)
    for n in LOOKS:
        once = np.minimum(once, betting_pvalue(losses[:n], epsilon, aim=delta))
    assert (once <= delta).sum() > binom.isf(ALARM, runs, delta)


def test_later_losses_never_change_earlier_bets() -> None:
    losses = np.random.default_rng(1).random((90, 3)) * 0.1
    p = [betting_pvalue(losses[:n], 0.2, planned=30) for n in range(1, 91)]
    assert all((p[n] <= p[n - 1]).all() for n in range(1, len(p)))
    with pytest.raises(OptionError, match="planned must be a number of images"):
        betting_pvalue(losses, 0.2, planned=0)
    with pytest.raises(OptionError, match="planned belongs to test='betting'"):
        PrecisionTarget(0.1, test="hoeffding-bentkus", planned=10)


def test_the_images_at_hand_are_promised_at_one_look() -> None:
    with pytest.raises(OptionError, match="leave planned or unlabelled_images out"):
        PrecisionTarget(0.1, unlabelled_images=300, planned=100)


def test_scouts_are_no_bets_that_were_planned() -> None:
    """As many images as were planned are certified as at one look."""
    scores, labels = some(np.random.default_rng(7), 40, 0.05)
    calibrator = PrecisionCalibrator()
    calibrator.update(scores, labels, names(0, 40))
    for epsilon in (0.1, 0.15, 0.2, 0.3):
        once = calibrator.result(epsilon)
        planned = calibrator.result(epsilon, planned=40)
        assert np.array_equal(once.qhat, planned.qhat)
        assert once.cap == planned.cap
    assert np.isfinite(planned.qhat).all()


def some(rng: np.random.Generator, images: int, wrong: float) -> tuple[np.ndarray, np.ndarray]:
    """Sure maps, some of which are wrong as a whole."""
    labels = np.where(rng.random(images) < wrong, 0, 1)[:, None, None] * np.ones((1, 4, 4), int)
    scores = np.full((images, 2, 4, 4), 0.02, dtype=np.float32)
    scores[:, 1] = 0.98
    return scores, labels


def names(start: int, count: int) -> list[str]:
    return [f"i{start + k}" for k in range(count)]


def test_images_are_bet_on_look_by_look() -> None:
    rng = np.random.default_rng(2)
    scores, labels = some(rng, 60, 0.05)
    ids = names(0, 60)
    calibrator = PrecisionCalibrator(rule="most-probable", path=ThresholdPath.plain([0.1]))
    calibrator.update(scores[:40], labels[:40], ids[:40])
    calibrator.look()
    calibrator.update(scores[40:], labels[40:], ids[40:])
    order = [ids[i] for i in betting_order(ids[:40])]
    order += [ids[40 + i] for i in betting_order(ids[40:])]
    assert list(calibrator.counts().ids) == order
    wrong = [float(labels[ids.index(name), 0, 0] == 0) for name in order]
    p = betting_pvalue(wrong, 0.2, planned=50)
    certified = np.isfinite(calibrator.result(0.2, planned=50).qhat)
    assert certified == (p <= 0.1)
    again = PrecisionCalibrator.from_state(calibrator.state())
    assert again.counts().ids == calibrator.counts().ids
    assert again.result(0.2, planned=50) == calibrator.result(0.2, planned=50)
    statement = calibrator.result(0.3, planned=50).guarantee.statement
    assert "for all looks together" in statement
    assert (
        "looks"
        not in calibrate_precision(
            scores, labels, 0.3, rule="most-probable", ids=ids
        ).guarantee.statement
    )


def test_what_was_looked_at_stays_as_it_was() -> None:
    scores, labels = some(np.random.default_rng(3), 12, 0.0)
    calibrator = PrecisionCalibrator()
    calibrator.update(scores[:6], labels[:6], names(0, 6), list("aabbcc"))
    calibrator.look()
    calibrator.update(scores[6:8], labels[6:8], names(6, 2), list("dd"))
    calibrator.result(0.3, planned=10)
    calibrator.update(scores[8:9], labels[8:9], names(8, 1), ["a"])
    with pytest.raises(OptionError, match="'a' has images from before and after a look"):
        calibrator.result(0.3, planned=10)
    other = PrecisionCalibrator()
    other.update(scores[9:], labels[9:], names(9, 3), list("efg"))
    with pytest.raises(OptionError, match="looked at at different times"):
        calibrator.merge(other)


def test_stopping_when_it_looks_good_keeps_the_promise_of_precision() -> None:
    """The whole calibration, at a risk of exactly epsilon, looked at until something is kept."""
    rng = np.random.default_rng(4)
    runs, epsilon, delta = 100, 0.25, 0.2
    broken = 0
    for _ in range(runs):
        calibrator = PrecisionCalibrator(rule="most-probable", path=ThresholdPath.plain([0.1]))
        for look in range(5):
            scores, labels = some(rng, 12, epsilon)
            calibrator.update(scores, labels, names(12 * look, 12))
            found = calibrator.result(epsilon, delta, planned=40)
            calibrator.look()
            if np.isfinite(found.qhat):
                broken += 1
                break
    assert broken <= binom.isf(ALARM, runs, delta)


def test_coverage_at_several_looks_is_by_a_part_of_alpha_for_each() -> None:
    """docs/guarantees.md: at alpha / L the expected loss at any of L looks sums to alpha at most.

    Scores are uniform and the same within an image, so that the loss of q is 1 - q; one stops at
    the look with the smallest q.
    """
    rng = np.random.default_rng(5)
    looks, alpha, losses = 3, 0.3, []
    for _ in range(60):
        u = rng.random(90)
        maps = np.stack([1 - u, u], axis=1)[:, :, None, None].astype(np.float32)
        labels = np.zeros((90, 1, 1), dtype=int)
        q = [calibrate_image_level(maps[:n], labels[:n], alpha / looks).qhat for n in (30, 60, 90)]
        losses.append(1 - min(1.0, *map(float, q)))
    error = np.std(losses, ddof=1) / np.sqrt(len(losses))
    assert np.mean(losses) <= alpha + 3.09 * error


def test_a_forecast_is_what_drawing_from_the_images_gives() -> None:
    scores, labels = some(np.random.default_rng(6), 30, 0.0)
    calibrator = PrecisionCalibrator(rule="most-probable")
    calibrator.update(scores, labels, names(0, 30))
    counts, target = calibrator.counts(), PrecisionTarget(0.1)
    few, many = forecast(counts, calibrator.path, target, [10, 80], draws=5)
    assert (few.units, few.nothing, few.kept) == (10, 1.0, 0.0)
    assert (many.units, many.nothing, many.kept) == (80, 0.0, 1.0)
    assert forecast(counts, calibrator.path, target, [40], draws=4) == forecast(
        counts, calibrator.path, target, [40], draws=4
    )
    with pytest.raises(OptionError, match="1 or more"):
        forecast(counts, calibrator.path, target, [0])
    grouped = PrecisionCalibrator(rule="most-probable")
    grouped.update(scores, labels, names(0, 30), [f"g{i // 10}" for i in range(30)])
    # Three groups, drawn twelve times, are twelve groups: too few.
    (one,) = forecast(grouped.counts(), grouped.path, target, [12], draws=3)
    assert one.nothing == 1.0
