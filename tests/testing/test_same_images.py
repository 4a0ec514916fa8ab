"""Calibration images that come as test images are told by what they hold, without any id."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from conformal_plugin import (
    Calibration,
    Calibrator,
    Evaluator,
    calibrate,
    calibrate_image_level,
    calibrate_with_confidence,
    evaluate,
)
from conformal_plugin.calibration import ImageLevelCalibrator
from conformal_plugin.errors import CalibrationFileError
from conformal_plugin.scores import LabelContent, label_fingerprint
from conformal_plugin.testing import SameDataError, assert_coverage

ALPHA = 0.1
SIDE = 12


def stills(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two classes, both in every image, of other sizes in each: as of polyps and background."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((n, SIDE, SIDE), dtype=np.int64)
    for image, size in zip(labels, rng.integers(1, SIDE * SIDE, n)):
        image.reshape(-1)[:size] = 1
    noise = rng.random((n, SIDE, SIDE))
    right = np.where(labels == 1, 1 - 0.6 * noise, 0.6 * noise)
    return np.stack([1 - right, right], axis=1).astype(np.float32), labels


def options_of(calibration: Calibration) -> dict[str, int]:
    pixel = calibration.guarantee.name == "pixel-marginal"
    return {"largest_image": SIDE * SIDE} if pixel else {}


@pytest.mark.parametrize("make", [calibrate, calibrate_image_level, calibrate_with_confidence])
def test_images_that_all_hold_every_class_are_told_by_their_counts_one_by_one(make: object) -> None:
    scores, labels = stills(60)
    calibration = make(scores, labels, ALPHA)  # type: ignore[operator]
    same, options = evaluate(scores, labels, calibration), options_of(calibration)
    with pytest.raises(SameDataError, match="image by image"):
        assert_coverage(same, calibration, **options)
    shuffled = np.random.default_rng(1).permutation(60)
    again = evaluate(scores[shuffled], labels[shuffled], calibration)
    with pytest.raises(SameDataError, match="image by image"):
        assert_coverage(
            again,
            calibration,
            calibration_ids=range(60),
            test_ids=[f"new {i}" for i in range(60)],
            **options,
        )
    others = stills(60, seed=1)
    assert_coverage(evaluate(*others, calibration), calibration, **options)


def test_the_same_sums_of_other_images_are_no_longer_taken_for_them() -> None:
    """A pixel moves from one image to another: class by class the sums are what they were."""
    scores, labels = stills(60)
    calibration = calibrate_image_level(scores, labels, ALPHA)
    moved = labels.copy()
    sizes = labels.reshape(60, -1).sum(axis=1)
    first, second = np.flatnonzero((sizes > 5) & (sizes < SIDE * SIDE - 5))[:2]
    moved[first].reshape(-1)[sizes[first] - 1] = 0
    moved[second].reshape(-1)[sizes[second]] = 1
    found = evaluate(scores, moved, calibration)
    assert np.array_equal(found.confusion.sum(axis=1), calibration.pixels_per_class)
    assert_coverage(found, calibration)


def test_few_images_or_alike_ones_are_not_accused() -> None:
    scores, labels = stills(19)
    few = calibrate_image_level(scores, labels, ALPHA)
    assert_coverage(evaluate(scores, labels, few), few)
    labels[:] = labels[0]  # one layout
    scores, labels = np.tile(scores, (3, 1, 1, 1)), np.tile(labels, (3, 1, 1))
    alike = calibrate_image_level(scores, labels, ALPHA)
    assert_coverage(evaluate(scores, labels, alike), alike)


def test_the_number_is_the_same_however_images_are_counted(tmp_path: Path) -> None:
    scores, labels = stills(24)
    expected = sum(label_fingerprint(np.bincount(y.reshape(-1), minlength=2)) for y in labels)
    expected %= 2**63
    at_once = calibrate(scores, labels, ALPHA)
    parts = [Calibrator(), Calibrator()]
    for i in np.random.default_rng(0).permutation(24):
        parts[i % 2].update(scores[i], labels[i], ids=[str(i)])
    parts[0] = Calibrator.from_state(parts[0].state())
    merged = parts[0].merge(parts[1])
    merged.update(scores[3], labels[3], ids=["3"])  # counted once
    blank = np.full((SIDE, SIDE), 255)
    merged.update(scores[3], blank, ids=["blank"])  # without a labelled pixel
    for calibration in (
        at_once,
        merged.result(ALPHA),
        merged.exact_result(scores, labels, ALPHA, ids=map(str, range(24))),
        calibrate_image_level(scores, labels, ALPHA),
    ):
        assert calibration.label_content == expected
        path = tmp_path / "calibration.json"
        calibration.save(path)
        assert Calibration.load(path) == calibration
        assert Calibration.load(path).label_content == expected
    evaluator = Evaluator(0.5)
    for image, truth in zip([*scores, scores[0]], [*labels, blank]):
        evaluator.update(image, truth)
    prints = evaluator.result().image_fingerprints
    assert prints is not None
    assert LabelContent.of(prints.tolist()).total == expected


def test_of_points_and_of_what_earlier_releases_counted_nothing_is_said() -> None:
    rng = np.random.default_rng(0)
    points, classes = rng.dirichlet(np.ones(3), 200), rng.integers(0, 3, 200)
    calibration = calibrate(points, classes, ALPHA)
    assert calibration.label_content is None
    assert evaluate(points, classes, calibration).image_fingerprints is None
    counted = ImageLevelCalibrator()
    counted.update(*stills(20))
    state = counted.state()
    del state["label_content"]
    old = ImageLevelCalibrator.from_state(state)
    old.update(*stills(5, seed=1))
    assert old.result(ALPHA).label_content is None
    # Sums are what is compared then; here every image holds both classes, and nothing is told.
    scores, labels = stills(60)
    sums_alone = replace(calibrate_image_level(scores, labels, ALPHA), label_content=None)
    assert_coverage(evaluate(scores, labels, sums_alone), sums_alone)


@pytest.mark.parametrize("value", [-1, 2**63, 1.5, "7"])
def test_a_file_with_another_number_is_damaged(value: object) -> None:
    text = calibrate_image_level(*stills(20), ALPHA).to_json()
    content = {**json.loads(text), "label_content": value}
    content.pop("checksum", None)
    with pytest.raises(CalibrationFileError, match="label_content"):
        Calibration.from_json(json.dumps(content))
