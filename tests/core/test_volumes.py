"""Volumes ``(N, K, D, H, W)``: counted as images are, and never taken for some."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import conformal_plugin as cp
from conformal_plugin import errors
from conformal_plugin.evaluation import measure_map

Array = Any

VOLUMES, CLASSES, DEPTH, HEIGHT, WIDTH = 24, 3, 5, 6, 7


def volumes(dtype: str = "float32", seed: int = 0) -> tuple[Array, Array]:
    """Scores that favour the true class, and labels with some pixels ignored."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, (VOLUMES, DEPTH, HEIGHT, WIDTH))
    right = np.moveaxis(np.eye(CLASSES)[labels], -1, 1)
    scores = 0.5 * right + 0.5 * rng.random(right.shape)
    scores /= scores.sum(1, keepdims=True)
    labels[rng.random(labels.shape) < 0.1] = 255
    return scores.astype(dtype), labels


def tall(scores: Array, labels: Array) -> tuple[Array, Array]:
    """The slices of each volume below each other, as one image."""
    return scores.reshape(*scores.shape[:2], -1, WIDTH), labels.reshape(len(labels), -1, WIDTH)


CALIBRATIONS: dict[str, Callable[..., cp.Calibration]] = {
    "pixel": cp.calibrate,
    "image-level": cp.calibrate_image_level,
    "image-wise": cp.calibrate_image_wise,
    "class-conditional": cp.calibrate_class_conditional,
    "class-conditional-image-level": cp.calibrate_class_conditional_image_level,
    "precision": cp.calibrate_precision,
}


@pytest.mark.parametrize("name", CALIBRATIONS)
@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_volume_counts_as_an_image_of_its_voxels(name: str, dtype: str) -> None:
    scores, labels = volumes(dtype)
    calibrate = CALIBRATIONS[name]
    of_volumes = calibrate(scores, labels, 0.2)
    of_images = calibrate(*tall(scores, labels), 0.2)
    assert np.array_equal(of_volumes.qhat, of_images.qhat)
    assert of_volumes.n_images == VOLUMES
    assert of_volumes.n_effective == of_images.n_effective


@pytest.mark.parametrize("name", CALIBRATIONS)
def test_the_promise_speaks_of_volumes(name: str) -> None:
    calibration = CALIBRATIONS[name](*volumes(), 0.2)
    guarantee = calibration.guarantee
    assert guarantee.unit in ("voxel", "volume")
    assert "volume" in guarantee.statement
    assert "image" not in guarantee.statement
    assert "pixel" not in guarantee.statement
    assert cp.Calibration.from_json(calibration.to_json()) == calibration
    by_images = CALIBRATIONS[name](*tall(*volumes()), 0.2).guarantee
    assert "volume" not in by_images.statement
    assert by_images.name == guarantee.name


def test_few_volumes_are_told_as_few_images_are() -> None:
    scores, labels = volumes()
    calibration = cp.calibrate_image_level(scores[:5], labels[:5], 0.05)
    assert calibration.qhat == math.inf
    assert "needs at least 19 volumes, and there are 5" in calibration.guarantee.statement
    assert "needs at least 19 volumes" in repr(calibration)
    with pytest.raises(errors.UninformativeThresholdError, match="needs at least 19 calibration"):
        cp.filter(scores, calibration)


def test_streams_of_volumes_of_any_size() -> None:
    scores, labels = volumes()
    sizes = [1 + i % DEPTH for i in range(VOLUMES)]
    items = [(s[None, :, :d], t[None, :d]) for s, t, d in zip(scores, labels, sizes)]
    at_once = cp.calibrate([s for s, _ in items], [t for _, t in items], 0.2)
    calibrator = cp.Calibrator()
    for number, (some, true) in enumerate(items):
        calibrator.update(some, true, ids=[number])
    assert at_once.guarantee.unit == "voxel"
    again = cp.Calibrator.from_state(calibrator.state())
    exact = again.exact_result([s for s, _ in items], [t for _, t in items], 0.2, ids=range(24))
    assert exact == at_once


@pytest.mark.parametrize("calibrator", [cp.Calibrator, cp.PrecisionCalibrator])
def test_images_and_volumes_are_not_counted_together(calibrator: Any) -> None:
    scores, labels = volumes()
    counting = calibrator()
    counting.update(scores[:2], labels[:2], ids=["a", "b"])
    slices = (scores[2].swapaxes(0, 1), labels[2])
    with pytest.raises(errors.ShapeError, match="calibrate each by itself"):
        counting.update(*slices, ids=range(DEPTH))
    other = calibrator()
    other.update(*slices, ids=range(DEPTH))
    with pytest.raises(errors.ShapeError, match="calibrate each by itself"):
        counting.merge(other)
    with pytest.raises(errors.ShapeError, match="calibrate each by itself"):
        calibrator.from_state(counting.state()).merge(other)
    assert counting.n_images == 2


@pytest.mark.parametrize("rule", ["foreground-first", "most-probable", "singleton"])
@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy])
def test_labels_and_sets_of_volumes(rule: str, kind: Callable[[Array], Array]) -> None:
    scores, labels = volumes()
    images, _ = tall(scores, labels)
    found = cp.filter(kind(scores), 0.6, rule=rule)
    assert type(found) is type(kind(scores))
    expected = cp.filter(images, 0.6, rule=rule).reshape(labels.shape)
    assert np.array_equal(np.asarray(found), expected)
    sets = np.asarray(cp.prediction_sets(kind(scores), 0.6))
    assert np.array_equal(sets, cp.prediction_sets(images, 0.6).reshape(scores.shape))


def test_measuring_volumes() -> None:
    scores, labels = volumes()
    found = cp.evaluate(scores, labels, 0.6)
    assert found == cp.evaluate(*tall(scores, labels), 0.6)
    assert found.n_images == VOLUMES


def test_cropped_volumes_and_classes_last() -> None:
    scores, labels = volumes()
    views = np.ascontiguousarray(np.moveaxis(scores, 1, -1))
    last = np.moveaxis(views, -1, 1)[:, :, :, 1:-1]
    expected = cp.calibrate(np.ascontiguousarray(last), labels[:, :, 1:-1], 0.2)
    assert cp.calibrate(last, labels[:, :, 1:-1], 0.2) == expected


def test_choosing_for_volumes() -> None:
    scores, labels = volumes()
    scores = 0.4 * scores + 0.6 * volumes(seed=1)[0]
    choice = cp.choose(scores, labels, alphas=(0.1, 0.3), want_precision=0.8)
    assert choice.calibration is not None
    assert choice.n_images == VOLUMES
    assert choice.calibration.guarantee.unit == "voxel"


def one_volume(depth: int = 3, *, normal: bool = True) -> tuple[Array, Array]:
    """``(K, D, H, W)`` scores and labels of a volume of three classes."""
    scores, labels = volumes()
    scores = scores[0] if normal else np.sqrt(scores[0])
    return scores[:, :depth], np.where(labels[0] == 255, 0, labels[0])[:depth]


@pytest.mark.parametrize("normal", [True, False])
def test_a_lone_volume_is_not_taken_for_images(normal: bool) -> None:
    scores, labels = one_volume(normal=normal)
    assert len(scores) == scores.shape[1]
    for read in (cp.calibrate, cp.calibrate_image_level):
        with pytest.raises(errors.ShapeError, match=r"scores\[None\] and labels\[None\]"):
            read(scores, labels, 0.2)
    with pytest.raises(errors.ShapeError, match="look like one volume"):
        cp.evaluate(scores, labels, 0.6)
    assert cp.calibrate(scores[None], labels[None], 0.2).n_images == 1


def test_a_lone_volume_without_labels_is_not_taken_for_images() -> None:
    scores, _ = one_volume(depth=4)
    with pytest.raises(errors.ShapeError, match=r"pass masks\[None\], or, if these are images"):
        cp.filter(scores, 0.6)
    with pytest.raises(errors.ShapeError, match="would be read as 3 images of 4 classes"):
        cp.prediction_sets((scores * 255).round().astype(np.uint8), 0.6)
    assert cp.filter(scores[None], 0.6).shape == (1, 4, HEIGHT, WIDTH)


def test_as_many_images_as_classes_are_images() -> None:
    scores, labels = volumes()
    images = np.ascontiguousarray(scores[:CLASSES, :, 0])
    assert cp.calibrate(images, labels[:CLASSES, 0], 0.2).n_images == CLASSES
    assert cp.filter(images, 0.6).shape == (CLASSES, HEIGHT, WIDTH)
    rough = np.sqrt(images)  # nothing adds up to one
    assert cp.calibrate(rough, labels[:CLASSES, 0], 0.2).n_images == CLASSES
    assert cp.filter(rough, 0.6).shape == (CLASSES, HEIGHT, WIDTH)


def test_images_that_look_like_a_volume_can_be_passed_one_by_one() -> None:
    scores, labels = one_volume()
    assert cp.calibrate(list(scores), list(labels), 0.2).n_images == CLASSES


def test_shapes_of_volumes() -> None:
    scores, labels = volumes()
    with pytest.raises(errors.ShapeError, match=r"labels must have shape \(24, 5, 6, 7\)"):
        cp.calibrate(scores, labels[:, 0], 0.2)
    with pytest.raises(errors.ShapeError, match="at least two classes"):
        cp.filter(scores[:, :1], 0.5)


def test_maps_of_volumes_are_measured_as_one_image_of_their_slices() -> None:
    scores, labels = volumes()
    image, _ = tall(scores, labels)
    for one, other in zip(scores[:3], image):
        of_volume, of_image = measure_map(one[None]), measure_map(other)
        assert np.array_equal(of_volume.general, of_image.general)
        assert np.array_equal(of_volume.shares, of_image.shares)
