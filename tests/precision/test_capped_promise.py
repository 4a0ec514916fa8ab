"""Scouts and caps leave the promise what it is: simulation at the boundary, and the assertion."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from conformal_plugin.calibration import Calibration
from conformal_plugin.errors import OptionError
from conformal_plugin.evaluation import evaluate
from conformal_plugin.labelling import most_kept
from conformal_plugin.precision import PrecisionTarget, ThresholdPath, calibrate_precision
from conformal_plugin.precision._path_counts import PathCounts
from conformal_plugin.testing import PrecisionError, assert_precision

AREA = 1000
PATHS = {
    "foreground-first": ThresholdPath.capped_foreground_first(),
    "one threshold": ThresholdPath.capped_one_threshold(),
    "foreground alone": ThresholdPath.foreground_alone(),
}


@pytest.mark.parametrize("unlabelled", [None, 10**6])
@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS.keys())
def test_no_place_is_certified_too_often_when_all_are_wrong(
    path: ThresholdPath, unlabelled: int | None
) -> None:
    """Whole images are wrong at all places or none, a little more often than epsilon.

    What is kept, and so which line the scouts choose, depends on whether the image is wrong.
    """
    rng, images, epsilon, delta, runs = np.random.default_rng(8), 60, 0.1, 0.1, 400
    target = PrecisionTarget(epsilon, delta, unlabelled_images=unlabelled)
    most = most_kept(path.caps, AREA)
    broken = 0
    for _ in range(runs):
        wrong = rng.random((images, 1)) < epsilon + 0.001
        first = np.arange(len(path)) < path.starts[1]
        kept = np.where(wrong & first, most // 4, most)
        # Of an image that keeps a quarter all is wrong, so that more of them must be.
        more = wrong | (first & (rng.random((images, 1)) < 3 * epsilon / 4))
        counts = PathCounts(
            ids=tuple(map(str, range(images))),
            kept=kept,
            wrong=np.where(more, kept, 0),
            pixels=np.full(images, AREA),
            areas=np.full(images, AREA),
            classes=np.full((images, 1), AREA),
        )
        broken += target.certified(counts, path) is not None
    # With a level of exactly delta this fails once in a million.
    assert broken <= binom.isf(1e-6, runs, delta)


def test_the_line_that_scouts_like_best_is_not_certified_too_often() -> None:
    """Along each line other images are wrong, a little more often than epsilon along all."""
    path = PATHS["foreground-first"]
    rng, images, epsilon, delta, runs = np.random.default_rng(9), 60, 0.1, 0.1, 400
    lines = np.digitize(np.arange(len(path)), path.starts) - 1
    kept = most_kept(path.caps, AREA) + np.zeros((images, 1), dtype=int)
    broken = 0
    for _ in range(runs):
        wrong = rng.random((images, len(path.starts))) < epsilon + 0.001
        counts = PathCounts(
            ids=tuple(map(str, range(images))),
            kept=kept,
            wrong=np.where(wrong[:, lines], kept, 0),
            pixels=np.full(images, AREA),
            areas=np.full(images, AREA),
            classes=np.full((images, 1), AREA),
        )
        broken += PrecisionTarget(epsilon, delta).certified(counts, path) is not None
    # With a level of exactly delta this fails once in a million.
    assert 0 < broken <= binom.isf(1e-6, runs, delta)


def objects(wrong: float, images: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """A sure background, right everywhere, with an object of a fifth of the image."""
    rng = np.random.default_rng(9)
    truth = np.zeros((images, 10, 10), dtype=int)
    truth[:, :2] = 1
    shown = truth.copy()
    shown[:, :2][rng.random(images) < wrong] = 2
    return 0.98 * np.eye(3)[shown].transpose(0, 3, 1, 2) + 0.005, truth


def test_the_foreground_has_a_promise_of_its_own() -> None:
    maps, truth = objects(wrong=0.04)
    calibration = calibrate_precision(maps, truth, 0.2, of="foreground")
    assert calibration.of == "foreground"
    assert np.all(np.asarray(calibration.qhat) > 0)
    assert "the foreground labels that the foreground-first rule keeps" in (
        calibration.guarantee.statement
    )
    assert Calibration.from_json(calibration.to_json()) == calibration
    good = evaluate(*objects(wrong=0.1, images=200), calibration)
    assert_precision(good, calibration)
    assert good.foreground_precision < good.precision
    bad = evaluate(*objects(wrong=0.6, images=200), calibration)
    with pytest.raises(PrecisionError, match=r"at most 0.2 is promised"):
        assert_precision(bad, calibration)
    with pytest.raises(PrecisionError):
        assert_precision(bad, 0.2, of="foreground")
    assert_precision(bad, 0.2)  # the background hides it
    with pytest.raises(OptionError, match="is about 'foreground' labels, and of='all'"):
        assert_precision(good, calibration, of="all")
    with pytest.raises(OptionError, match="of must be one of all, foreground"):
        assert_precision(good, 0.2, of="sky")


def test_a_capped_promise_is_tested_with_its_cap() -> None:
    maps, truth = objects(wrong=0.0)
    path = ThresholdPath.plain([0.1])
    capped = ThresholdPath(path.background, path.foreground, caps=[0.3])
    calibration = calibrate_precision(maps, truth, 0.1, path=capped)
    assert calibration.cap == 0.3
    assert "keeps at most a share 0.3 of each image's pixels" in calibration.guarantee.statement
    result = evaluate(*objects(wrong=0.0), calibration)
    assert result.image_kept.tolist() == [30] * 120
    assert_precision(result, calibration)
    # Two thirds of what a cap of 0.3 keeps are the object: a quarter of them wrong is too many.
    with pytest.raises(PrecisionError):
        assert_precision(evaluate(*objects(wrong=0.4), calibration), calibration)
