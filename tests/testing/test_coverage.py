"""assert_coverage: the four classic faults are caught, sound calibrations pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conformal_plugin import Calibration, Evaluation, calibrate, evaluate
from conformal_plugin.calibration import calibrate_image_level, calibrate_image_wise
from conformal_plugin.errors import OptionError
from conformal_plugin.testing import (
    CoverageError,
    SameDataError,
    assert_coverage,
    assert_exchangeable_coverage,
    assert_image_coverage,
    assert_image_wise_coverage,
    correlated_scores,
    maps_from_scores,
)

SIDE, CLASSES, ALPHA = 16, 8, 0.1
LARGEST = SIDE * SIDE


@dataclass
class Images:
    maps: np.ndarray
    labels: np.ndarray

    def __getitem__(self, part: slice) -> Images:
        return Images(self.maps[part], self.labels[part])


def images(count: int, seed: int = 0) -> Images:
    """A mostly right annotator, pixels correlated; each image holds two or three classes."""
    rng = np.random.default_rng(seed)
    scores = correlated_scores(count, LARGEST, seed=rng).reshape(count, SIDE, SIDE) / 2
    labels = np.zeros((count, SIDE, SIDE), dtype=np.int64)
    labels[:, SIDE // 2 :] = rng.integers(1, CLASSES, (count, 1, 1))
    labels[:, : SIDE // 4] = rng.integers(0, CLASSES, (count, 1, 1))
    return Images(maps_from_scores(scores, labels, CLASSES), labels)


def points(count: int, seed: int = 0) -> Images:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    scores = 0.5 * rng.dirichlet(np.ones(CLASSES), count) + 0.5 * np.eye(CLASSES)[labels]
    return Images(scores, labels)


def true_scores(data: Images) -> np.ndarray:
    """Nonconformity of all pixels, flat."""
    return 1 - np.take_along_axis(data.maps, data.labels[:, None], axis=1).ravel()


def measured(data: Images, calibration: Calibration) -> Evaluation:
    return evaluate(data.maps, data.labels, calibration)


Calibrate = Callable[..., Calibration]
each_image_guarantee = pytest.mark.parametrize(
    "calibrated", [calibrate, calibrate_image_level], ids=["pixel", "image-level"]
)


def options_of(calibration: Calibration) -> dict[str, int]:
    return {"largest_image": LARGEST} if calibration.guarantee.name == "pixel-marginal" else {}


@each_image_guarantee
def test_sound_calibrations_of_images_pass(calibrated: Calibrate) -> None:
    data = images(140)
    calibration = calibrated(data[:40].maps, data[:40].labels, ALPHA)
    test, own = measured(data[40:], calibration), measured(data[:40], calibration)
    options = options_of(calibration)
    assert_coverage(test, calibration, **options)
    assert_coverage(test, calibration, calibration_evaluation=own, **options)
    ids = [f"image-{i}" for i in range(140)]
    assert_coverage(test, calibration, calibration_ids=ids[:40], test_ids=ids[40:], **options)


@each_image_guarantee
def test_labels_shifted_by_one_class_are_caught(calibrated: Calibrate) -> None:
    data = images(140)
    calibration = calibrated(data[:40].maps, data[:40].labels, ALPHA)
    shifted = evaluate(data[40:].maps, (data[40:].labels + 1) % CLASSES, calibration)
    with pytest.raises(CoverageError, match="labels are shifted by one class") as caught:
        assert_coverage(shifted, calibration, **options_of(calibration))
    error = caught.value
    assert error.observed == pytest.approx(shifted.coverage)
    assert error.observed < error.lowest < error.target == 0.9
    assert (error.n_calibration, error.n_test, error.unit) == (40, 100, "image")
    assert error.p_value <= error.false_alarm == 1e-3
    for part in (f"{error.observed:.6g}", "0.9 is promised", "100 test images", "0.001"):
        assert part in str(error)


def test_labels_shifted_are_caught_for_points() -> None:
    data = points(400)
    calibration = calibrate(data[:200].maps, data[:200].labels, ALPHA)
    assert calibration.guarantee.name == "marginal"
    assert_coverage(measured(data[200:], calibration), calibration)
    shifted = evaluate(data[200:].maps, (data[200:].labels + 1) % CLASSES, calibration)
    with pytest.raises(CoverageError, match="of 200 test points covered"):
        assert_coverage(shifted, calibration)


def test_no_correction_at_20_is_caught_on_the_calibration_data() -> None:
    """One run cannot tell 18 of 20 from 19 of 20 by its test points; the calibration points can."""
    data = points(420)
    calibration = calibrate(data[:20].maps, data[:20].labels, ALPHA)
    own = np.sort(1 - data[:20].maps[np.arange(20), data[:20].labels])
    wrong = replace(calibration, qhat=own[17])
    assert calibration.qhat == own[18]
    test, again = measured(data[20:], wrong), measured(data[:20], wrong)
    with pytest.raises(CoverageError, match="18 of the 20 calibration scores are covered"):
        assert_coverage(test, wrong, calibration_evaluation=again)
    sound = measured(data[:20], calibration)
    assert_coverage(measured(data[20:], calibration), calibration, calibration_evaluation=sound)


def test_no_correction_at_20_images_is_caught_on_the_calibration_images() -> None:
    data = images(100)
    calibration = calibrate_image_level(data[:20].maps, data[:20].labels, ALPHA)
    scores = np.sort(true_scores(data[:20]))
    wrong = replace(calibration, qhat=scores[int(0.9 * len(scores)) - 1])
    test, own = measured(data[20:], wrong), measured(data[:20], wrong)
    with pytest.raises(CoverageError, match="calibration images themselves") as caught:
        assert_coverage(test, wrong, calibration_evaluation=own)
    assert caught.value.p_value == 0.0
    assert caught.value.lowest == pytest.approx(1 - (0.1 * 21 - 1) / 20)


def test_a_clamped_threshold_of_points_is_caught() -> None:
    data = points(300)
    calibration = calibrate(data[:8].maps, data[:8].labels, ALPHA)
    assert calibration.qhat == np.inf
    assert_coverage(measured(data[8:], calibration), calibration)
    largest = (1 - data[:8].maps[np.arange(8), data[:8].labels]).max()
    clamped = replace(calibration, qhat=largest)
    with pytest.raises(CoverageError, match="infinite threshold was clamped") as caught:
        assert_coverage(measured(data[8:], clamped), clamped)
    assert caught.value.p_value == 0.0


def test_a_clamped_threshold_of_images_is_caught() -> None:
    data = images(60)
    calibration = calibrate_image_level(data[:8].maps, data[:8].labels, ALPHA)
    assert calibration.qhat == np.inf
    everything = measured(data[8:], calibration)
    assert_coverage(everything, calibration)
    own = measured(data[:8], calibration)
    assert_coverage(everything, calibration, calibration_evaluation=own)
    clamped = replace(calibration, qhat=true_scores(data[:8]).max())
    test, own = measured(data[8:], clamped), measured(data[:8], clamped)
    assert own.coverage == 1.0
    with pytest.raises(CoverageError, match="so few calibration images the threshold is infinite"):
        assert_coverage(test, clamped)
    with pytest.raises(CoverageError, match="is impossible"):
        assert_coverage(test, clamped, calibration_evaluation=own)


def test_a_clamped_threshold_of_few_pixels_is_caught() -> None:
    data = images(60)
    labels = np.full((4, SIDE, SIDE), 255)
    labels[:, 0, :2] = data.labels[:4, 0, :2]
    calibration = calibrate(data.maps[:4], labels, ALPHA)
    assert calibration.guarantee.name == "pixel-marginal"
    assert calibration.qhat == np.inf
    clamped = replace(calibration, qhat=0.45)
    with pytest.raises(CoverageError, match="is impossible"):
        assert_coverage(measured(data[4:], clamped), clamped, largest_image=LARGEST)


@each_image_guarantee
def test_calibration_on_the_test_images_is_caught(calibrated: Calibrate) -> None:
    data = images(40)
    calibration = calibrated(data.maps, data.labels, ALPHA)
    same = measured(data, calibration)
    options = options_of(calibration)
    with pytest.raises(SameDataError, match="40 test ids are calibration ids too: 0, 1, 10"):
        assert_coverage(same, calibration, calibration_ids=range(40), test_ids=range(40), **options)
    # Without ids, from what both sides counted; and image by image.
    with pytest.raises(SameDataError, match="number of labelled pixels of every class"):
        assert_coverage(same, calibration, **options)
    with pytest.raises(SameDataError, match="evaluate on labelled images"):
        assert_coverage(same, calibration, calibration_evaluation=same, **options)


def test_images_of_one_layout_are_told_apart_by_their_coverage() -> None:
    """Where every image has the same label map, class counts say nothing."""
    data = images(80)
    layout = np.broadcast_to(data.labels[:1], data.labels.shape).copy()
    scores = correlated_scores(80, LARGEST, seed=3).reshape(80, SIDE, SIDE)
    data = Images(maps_from_scores(scores, layout, CLASSES), layout)
    calibration = calibrate_image_level(data[:40].maps, data[:40].labels, ALPHA)
    own, test = measured(data[:40], calibration), measured(data[40:], calibration)
    assert_coverage(test, calibration)
    assert_coverage(test, calibration, calibration_evaluation=own)
    assert_coverage(own, calibration)  # cannot be known
    with pytest.raises(SameDataError, match="exactly the coverage of the 40 calibration images"):
        assert_coverage(own, calibration, calibration_evaluation=own)


def test_calibration_on_the_test_points_is_caught() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 10, 600), rng.dirichlet(np.ones(10), 600)
    calibration = calibrate(scores, labels, ALPHA)
    same = evaluate(scores, labels, calibration)
    with pytest.raises(SameDataError, match="the 600 test points"):
        assert_coverage(same, calibration)
    # Few points in few classes agree by chance too often to be accused without more.
    few = calibrate(scores[:20], labels[:20] % 2, ALPHA)
    assert_coverage(evaluate(scores[:20], labels[:20] % 2, few), few)


@pytest.mark.parametrize("known", [False, True])
def test_other_ids_do_not_make_the_same_images_others(known: bool) -> None:
    data = images(40)
    calibration = calibrate_image_level(data.maps, data.labels, ALPHA)
    same = measured(data, calibration)
    more = {"calibration_evaluation": same} if known else {}
    with pytest.raises(SameDataError, match="exactly the"):
        assert_coverage(
            same, calibration, calibration_ids=range(40), test_ids=range(40, 80), **more
        )


def test_other_images_of_the_same_counts_pass_with_ids_and_image_by_image() -> None:
    data = images(80)
    data.labels[40:] = data.labels[:40]
    scores = correlated_scores(80, LARGEST, seed=5).reshape(80, SIDE, SIDE) / 2
    data = Images(maps_from_scores(scores, data.labels, CLASSES), data.labels)
    calibration = calibrate_image_level(data[:40].maps, data[:40].labels, ALPHA)
    own, test = measured(data[:40], calibration), measured(data[40:], calibration)
    ids = {"calibration_ids": range(40), "test_ids": range(40, 80)}
    with pytest.raises(SameDataError, match="calibration_evaluation, which compares the cov"):
        assert_coverage(test, calibration, **ids)
    assert_coverage(test, calibration, calibration_evaluation=own, **ids)


def test_an_id_is_the_same_with_and_without_its_extension() -> None:
    data = images(80)
    calibration = calibrate_image_level(data[:40].maps, data[:40].labels, ALPHA)
    test = measured(data[40:], calibration)
    ids = [f"2007/{i:06}" for i in range(80)]
    for written in ("{}.png", "{}.JPG", " ./{}"):
        with pytest.raises(SameDataError, match="1 test ids are calibration ids too: 2007/000039"):
            assert_coverage(
                test,
                calibration,
                calibration_ids=ids[:40],
                test_ids=[written.format(name) for name in ids[39:79]],
            )


def test_every_image_needs_an_id_of_its_own() -> None:
    data = images(80)
    calibration = calibrate_image_level(data[:40].maps, data[:40].labels, ALPHA)
    test = measured(data[40:], calibration)
    for test_ids in (["one"], ["one"] * 40, [f"{i}.png" for i in range(40, 60)] * 2):
        with pytest.raises(OptionError, match=r"test_ids names \d+ different images"):
            assert_coverage(test, calibration, calibration_ids=range(40), test_ids=test_ids)
    with pytest.raises(OptionError, match="calibration_ids names 1 different"):
        assert_coverage(test, calibration, calibration_ids=["a"], test_ids=range(40))
    with pytest.raises(OptionError, match="test_ids must be one id per image, got the single"):
        assert_coverage(test, calibration, calibration_ids=range(40), test_ids="abc")
    # Images without a labelled pixel have an id and are not counted; hosts repeat labelled ids.
    assert_coverage(test, calibration, calibration_ids=[*range(40)] * 2, test_ids=range(40, 90))


def test_the_same_images_are_told_where_large_ones_are_covered_worse() -> None:
    """Image level speaks of the mean over images; the pooled pixels then lie below 1 - alpha."""
    data = images(40)
    data.labels[10:, 1:] = 255  # one row of labels; the ten others are whole, and harder
    data.maps[:10] *= 0.6
    calibration = calibrate_image_level(data.maps, data.labels, ALPHA)
    same = measured(data, calibration)
    assert same.coverage < 0.8 < 0.9 <= same.image_coverage.mean()
    with pytest.raises(SameDataError, match="number of labelled pixels of every class"):
        assert_coverage(same, calibration)


def test_one_shared_id_is_enough() -> None:
    data = images(80)
    calibration = calibrate_image_level(data[:40].maps, data[:40].labels, ALPHA)
    with pytest.raises(SameDataError, match="1 test ids are calibration ids too: 39") as caught:
        assert_coverage(
            measured(data[40:], calibration),
            calibration,
            calibration_ids=range(40),
            test_ids=range(39, 79),
        )
    assert caught.value.shared == ("39",)
    assert isinstance(caught.value, AssertionError)


def test_known_calibration_images_show_what_the_bound_cannot() -> None:
    scores = correlated_scores(337, LARGEST, seed=7)
    allowed = int((0.1 * 93 - 1) * LARGEST)
    qhat = np.sort(scores[:92], axis=None)[-1 - allowed]
    own, test = (scores[:92] <= qhat).mean(axis=1), (scores[92:] ** 0.5 <= qhat).mean(axis=1)
    assert 0.78 < test.mean() < 0.85
    assert_image_coverage(test, n_calibration=92, alpha=ALPHA)
    with pytest.raises(CoverageError, match="permutation test") as caught:
        assert_exchangeable_coverage(test, own, alpha=ALPHA)
    assert caught.value.observed == pytest.approx(test.mean())
    assert test.mean() < caught.value.lowest < 0.9
    with pytest.raises(CoverageError) as caught:
        assert_image_coverage(test - 0.15 * test, n_calibration=92, alpha=ALPHA)
    assert caught.value.n_calibration == 92


def test_image_wise_quantile() -> None:
    data = images(160)
    calibration = calibrate_image_wise(data[:60].maps, data[:60].labels, ALPHA, 0.8)
    test = measured(data[60:], calibration)
    settings = {"n_calibration": 60, "alpha": ALPHA, "tau": 0.8}
    assert_image_wise_coverage(test.image_coverage, **settings)
    with pytest.raises(CoverageError, match="too low to be chance"):
        assert_image_wise_coverage(test.image_coverage - 0.15, **settings)
    with pytest.raises(OptionError, match="assert_image_wise_coverage for the image-wise"):
        assert_coverage(test, calibration)
    with pytest.raises(OptionError, match="tau must be"):
        assert_image_wise_coverage([0.9], n_calibration=60, alpha=ALPHA, tau=1.5)


def test_pixel_calibration_of_images_with_ignored_pixels() -> None:
    data = images(140)
    data.labels[:, 6:7] = 255
    data.labels[::3, 12:] = 255
    calibration = calibrate(data[:40].maps, data[:40].labels, ALPHA)
    test, own = measured(data[40:], calibration), measured(data[:40], calibration)
    assert_coverage(test, calibration, calibration_evaluation=own)
    assert_coverage(test, calibration, largest_image=LARGEST)
    labels = np.where(data.labels == 255, 255, (data.labels + 1) % CLASSES)
    shifted = evaluate(data[40:].maps, labels[40:], calibration)
    with pytest.raises(CoverageError) as caught:
        assert_coverage(shifted, calibration, calibration_evaluation=own)
    assert caught.value.observed == pytest.approx(shifted.coverage)
    # Much too small to be seen by the sums, or without the calibration images.
    poorer = evaluate(data[40:].maps, data[40:].labels, calibration.qhat - 0.12)
    assert_coverage(poorer, calibration, largest_image=LARGEST)
    with pytest.raises(CoverageError, match="permutation test"):
        assert_coverage(poorer, calibration, calibration_evaluation=own)


def test_arguments_that_contradict_each_other() -> None:
    data = images(60)
    calibration = calibrate(data[:40].maps, data[:40].labels, ALPHA)
    test = measured(data[40:], calibration)
    with pytest.raises(OptionError, match="needs largest_image, the most labelled pixels"):
        assert_coverage(test, calibration)
    with pytest.raises(OptionError, match="largest_image is 255, but the calibration has 10240"):
        assert_coverage(test, calibration, largest_image=255)
    with pytest.raises(OptionError, match="must be of the calibration data: it has 20 images"):
        assert_coverage(test, calibration, calibration_evaluation=test)
    with pytest.raises(OptionError, match="both calibration_ids and test_ids"):
        assert_coverage(test, calibration, test_ids=["a"], largest_image=LARGEST)
    with pytest.raises(OptionError, match="one threshold per class"):
        assert_coverage(test, replace(calibration, qhat=np.full(CLASSES, 0.5)))
    with pytest.raises(OptionError, match="false_alarm must be a rate"):
        assert_coverage(test, calibration, false_alarm=0)
    binary = evaluate(data.maps[:, :2], data.labels % 2, 0.5)
    with pytest.raises(OptionError, match="has 2 classes and the calibration 8"):
        assert_coverage(binary, calibration, largest_image=LARGEST)
    few = points(50)
    with pytest.raises(OptionError, match="of 50 separate points and the evaluation of 20 images"):
        assert_coverage(test, calibrate(few.maps, few.labels, ALPHA))
    with pytest.raises(OptionError, match="one number per image"):
        assert_image_coverage(0.9, n_calibration=20, alpha=ALPHA)
    with pytest.raises(OptionError, match=r"shares of covered pixels in \[0, 1\]"):
        assert_image_coverage([90.0], n_calibration=20, alpha=ALPHA)


@pytest.mark.real
def test_on_real_photos(voc: Path) -> None:
    def photos(name: str, count: int) -> Images:
        ids = (voc / "splits" / f"{name}.txt").read_text().split()[:count]
        maps = [np.load(voc / "probs" / f"{i}.npz")["probs"] for i in ids]
        return Images(maps, [np.array(Image.open(voc / "labels" / f"{i}.png")) for i in ids])

    labelled, unlabelled = photos("labeled_92", 92), photos("unlabeled_345", 40)
    calibration = calibrate_image_level(labelled.maps, labelled.labels, ALPHA)
    own, test = measured(labelled, calibration), measured(unlabelled, calibration)
    assert_coverage(test, calibration, calibration_evaluation=own)
    with pytest.raises(SameDataError):
        assert_coverage(own, calibration)
    shifted = [np.where(y == 255, 255, (y.astype(int) + 1) % 21) for y in unlabelled.labels]
    with pytest.raises(CoverageError):
        assert_coverage(evaluate(unlabelled.maps, shifted, calibration), calibration)
