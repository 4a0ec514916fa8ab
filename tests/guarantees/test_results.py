"""Results say what they promise, refuse what cannot be, and work where a threshold is used."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

import conformal_plugin as cp
from conformal_plugin import Calibration, Calibrator
from conformal_plugin.calibration import (
    ImageLevelCalibrator,
    calibrate_class_conditional,
    calibrate_class_conditional_image_level,
    calibrate_clustered,
    calibrate_image_level,
    calibrate_image_wise,
    cluster_classes,
    images_needed,
)
from conformal_plugin.calibration._units import ImageShare, Totals
from conformal_plugin.errors import (
    AlphaError,
    OptionError,
    ShapeError,
    TooFewImagesError,
    UninformativeThresholdError,
)


def scene(images: int, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Maps that favour the true class; class c is held by every (c + 1)-th image alone."""
    rng = np.random.default_rng(seed)
    labels = np.zeros((images, 12, 12), np.uint8)
    for i in range(images):
        held = [c for c in range(classes) if i % (c + 1) == 0]
        labels[i] = rng.choice(held, (12, 12))
    scores = rng.random((images, classes, 12, 12))
    truth = np.arange(classes)[None, :, None, None] == labels[:, None]
    scores = np.where(truth, 0.35 + 0.65 * scores, 0.5 * scores)
    return scores.astype(np.float16), labels


@pytest.mark.parametrize(
    ("alpha", "images"), [(0.05, 19), (0.1, 9), (0.2, 4), (0.5, 1), (0.3, 3), (0.9, 1), (0.01, 99)]
)
def test_images_needed(alpha: float, images: int) -> None:
    assert images_needed(alpha) == images
    scores, labels = scene(images)
    for calibrate in (calibrate_image_level, calibrate_image_wise):
        assert calibrate(scores, labels, alpha).qhat < math.inf
        if images > 1:
            short = calibrate(scores[1:], labels[1:], alpha)
            assert short.qhat == math.inf
            assert not short.informative
            assert f"needs at least {images} images, and there are {images - 1}" in (
                short.guarantee.statement
            )
            assert f"qhat=inf (needs at least {images} images)" in repr(short)
            with pytest.raises(UninformativeThresholdError):
                cp.filter(scores[0], short)


def test_statements_name_level_and_unit() -> None:
    scores, labels = scene(30)
    level = calibrate_image_level(scores, labels, 0.1)
    assert (level.guarantee.name, level.guarantee.unit) == ("image-level", "image")
    assert level.guarantee.exact
    assert "at least 90 % of an image's pixels" in level.guarantee.statement
    wise = calibrate_image_wise(scores, labels, 0.1, 0.75)
    assert "at least 90 %, a new exchangeable image has at least 75 %" in wise.guarantee.statement
    assert wise.guarantee.exact
    assert "images" not in repr(level).split("n_pixels")[0]


def test_policies_for_classes_that_few_images_hold() -> None:
    scores, labels = scene(40)  # held by 40, 20 and 14 images
    pooled = calibrate_class_conditional_image_level(scores, labels, 0.05)
    assert pooled.images_per_class.tolist() == [40, 20, 14]
    assert pooled.pooled_classes == (2,)
    assert pooled.left_out_classes == ()
    assert pooled.qhat[2] == calibrate_image_level(scores, labels, 0.05).qhat
    statement = pooled.guarantee.statement
    assert "Class 2, held by fewer than 19 images, share the threshold of all" in statement
    assert "class 2: qhat=" in repr(pooled)
    assert "14 images, " in repr(pooled)
    assert "pooled: too few images" in repr(pooled)
    left = calibrate_class_conditional_image_level(scores, labels, 0.05, few="leave-out")
    assert left.qhat[2] == -math.inf
    assert left.left_out_classes == (2,)
    assert "left out: in no prediction set" in left.guarantee.statement
    assert not (cp.filter(scores, left, rule="most-probable") == 2).any()
    assert not cp.prediction_sets(scores, left)[:, 2].any()
    assert np.array_equal(left.qhat[:2], pooled.qhat[:2])
    with pytest.raises(TooFewImagesError) as caught:
        calibrate_class_conditional_image_level(scores, labels, 0.05, few="fail")
    for word in ("at least 19 images", "2 (14)", "few='pool'", "raise alpha"):
        assert word in str(caught.value)
    enough = calibrate_class_conditional_image_level(scores, labels, 0.1, few="fail")
    assert enough.pooled_classes == enough.left_out_classes == ()
    assert "Class" not in enough.guarantee.statement.replace("Classes with", "")


def test_the_pixel_version_has_the_same_policy_and_is_heuristic() -> None:
    scores, labels = scene(40)
    result = calibrate_class_conditional(scores, labels, 0.05)
    assert result.pooled_classes == (2,)
    assert result.qhat[2] == cp.calibrate(scores, labels, 0.05).qhat
    assert (result.guarantee.unit, result.guarantee.exact) == ("pixel", False)
    assert "Heuristic" in result.guarantee.statement
    bold = calibrate_class_conditional(scores, labels, 0.05, min_images=14, few="fail")
    assert bold.pooled_classes == ()


def test_a_promise_that_no_class_has_is_not_called_exact() -> None:
    scores, labels = scene(5)
    result = calibrate_class_conditional_image_level(scores, labels, 0.05)
    assert result.pooled_classes == (0, 1, 2)
    assert not result.guarantee.exact
    assert "there is none" in result.guarantee.statement
    assert not calibrate_clustered(scores, labels, 0.05, clusters=[0, 0, 1]).guarantee.exact


@pytest.mark.parametrize("few", ["pool", "leave-out"])
def test_results_survive_the_file_and_supervise(few: str, tmp_path: Path) -> None:
    scores, labels = scene(40)
    result = calibrate_class_conditional(
        scores, labels, 0.05, few=few, ids=[min(i, 38) for i in range(40)]
    )
    result.save(tmp_path / "calibration.json")
    again = Calibration.load(tmp_path / "calibration.json")
    assert again == result
    assert again.n_repeats == 1
    assert (again.pooled_classes, again.left_out_classes) == (
        result.pooled_classes,
        result.left_out_classes,
    )
    criterion = torch.nn.CrossEntropyLoss(reduction="none", ignore_index=255)
    supervise = cp.ConformalSupervision(criterion, calibration=result)
    logits = torch.zeros(2, 3, 12, 12, requires_grad=True)
    term = supervise(logits, torch.from_numpy(scores[:2]).float())
    term.backward()
    assert math.isfinite(term.item())
    assert logits.grad is not None
    assert logits.grad.abs().sum() > 0


@pytest.mark.parametrize("calibrate", [calibrate_image_level, calibrate_image_wise])
def test_scalar_results_filter_and_evaluate(calibrate) -> None:
    scores, labels = scene(40)
    result = calibrate(scores, labels, 0.1)
    kept = cp.filter(scores, result)
    assert kept.shape == labels.shape
    assert cp.evaluate(scores, labels, result).n_images == 40


@pytest.mark.parametrize("tau", [0, -0.5, 1.5, math.nan, math.inf, "0.9", True, None])
def test_tau_outside_its_range_is_refused(tau) -> None:
    scores, labels = scene(4)
    with pytest.raises(OptionError, match=r"tau must be a number in \(0, 1\]"):
        calibrate_image_wise(scores, labels, 0.2, tau)


def test_other_options_are_checked() -> None:
    scores, labels = scene(10)
    with pytest.raises(OptionError, match="few must be one of pool, leave-out, fail, got 'drop'"):
        calibrate_class_conditional(scores, labels, 0.2, few="drop")
    for least in (0, -1, 2.5, True):
        with pytest.raises(OptionError, match="min_images must be an integer of at least 1"):
            calibrate_class_conditional(scores, labels, 0.2, min_images=least)
    for calibrate in (
        calibrate_image_level,
        calibrate_image_wise,
        calibrate_class_conditional,
        calibrate_class_conditional_image_level,
    ):
        with pytest.raises(AlphaError):
            calibrate(iter([]), iter([]), 1.0)
    with pytest.raises(OptionError, match="at most 134217727 images"):
        ImageShare().need(Totals(2**27, 2**27, 1), 0.1)


def test_clusters_are_found_and_shared() -> None:
    rng = np.random.default_rng(5)
    # Two kinds of class: sharp ones (0, 2, 4) and vague ones (1, 3, 5); class 6 is rare.
    labels = rng.integers(0, 6, (60, 10, 10))
    labels[0, 0, 0] = 6
    sharp = np.isin(labels, (0, 2, 4))
    p = np.where(sharp, 0.9 + 0.1 * rng.random(labels.shape), 0.6 * rng.random(labels.shape))
    scores = np.zeros((60, 7, 10, 10))
    np.put_along_axis(scores, labels[:, None], p[:, None], axis=1)
    clusters = cluster_classes(scores[:20], labels[:20], 2, ids=range(20))
    assert clusters.of_class == (0, 1, 0, 1, 0, 1, -1)
    assert clusters == cluster_classes(scores[:20], labels[:20], 2, ids=range(20))
    result = calibrate_clustered(
        scores[20:], labels[20:], 0.1, clusters=clusters, ids=range(20, 60)
    )
    assert len(set(result.qhat[[0, 2, 4]])) == len(set(result.qhat[[1, 3, 5]])) == 1
    assert result.qhat[0] < 0.1 < 0.4 < result.qhat[1]
    assert result.pooled_classes == (6,)
    assert result.qhat[6] == calibrate_image_level(scores[20:], labels[20:], 0.1).qhat
    assert result.guarantee.exact
    assert "Class 6, in no cluster that at least 9 images hold" in result.guarantee.statement
    with pytest.raises(OptionError, match="2 images, '18' among them, were used to find"):
        calibrate_clustered(scores[18:], labels[18:], 0.1, clusters=clusters, ids=range(18, 60))


def test_clusters_that_cannot_be_are_refused() -> None:
    scores, labels = scene(12)
    for n in (0, 3, 1.5, True):
        with pytest.raises(OptionError, match="n_clusters must be an integer from 1 .* 2 here"):
            cluster_classes(scores, labels, n, alpha=0.2)
    assert cluster_classes(scores, labels, 1, alpha=0.2).of_class == (0, 0, -1)
    assert cluster_classes(scores, labels, 2, alpha=0.2).of_class == (0, 1, -1)
    for clusters in ([0, 0.5, 1], [-2, 0, 0], [[0, 0, 0]], [0, 0, 3]):
        with pytest.raises(OptionError, match="one integer per class"):
            calibrate_clustered(scores, labels, 0.2, clusters=clusters)
    with pytest.raises(ShapeError, match="clusters are of 2 classes and the scores have 3"):
        calibrate_clustered(scores, labels, 0.2, clusters=[0, 1])


def test_identical_classes_still_cluster() -> None:
    scores = np.full((20, 3, 6, 6), 0.5)
    labels = np.random.default_rng(6).integers(0, 3, (20, 6, 6))
    assert cluster_classes(scores, labels, 2).of_class == (0, 0, 0)


def direct_effective_size(covered: np.ndarray, sizes: np.ndarray) -> float:
    p = covered.sum() / sizes.sum()
    residuals = covered - p * sizes
    k = len(sizes)
    variance = k / (k - 1) * (residuals**2).sum() / sizes.sum() ** 2
    return min(p * (1 - p) / variance, float(sizes.sum()))


@pytest.mark.parametrize("dtype", ["float16", "uint8"])
def test_the_effective_size_is_the_ratio_estimator(dtype: str) -> None:
    rng = np.random.default_rng(7)
    maps, labels = [], []
    for _ in range(25):
        height, width = rng.integers(5, 30, 2)
        p = np.clip(rng.normal(0.6, 0.2) + 0.1 * rng.standard_normal((height, width)), 0, 1)
        scores = np.stack([p, 1 - p])
        maps.append((scores * 255).astype(dtype) if dtype == "uint8" else scores.astype(dtype))
        labels.append(np.zeros((height, width), int))
    result = cp.calibrate(maps, labels, 0.1)
    top = 255 if dtype == "uint8" else 1
    covered = np.array([(1 - m[0].astype(float) / top <= result.qhat).sum() for m in maps])
    expected = direct_effective_size(covered, np.array([m[0].size for m in maps]))
    assert result.n_effective == pytest.approx(expected, rel=1e-12)
    assert 5 < expected < 200
    assert f"n_pixels={result.n_pixels} (worth about {expected:.0f} independent)" in repr(result)
    assert Calibration.from_json(result.to_json()) == result


def test_the_effective_size_is_unknown_where_nothing_tells_it() -> None:
    scores, labels = scene(10)
    assert cp.calibrate(scores[:1], labels[:1], 0.1).n_effective is None
    assert cp.calibrate(scores, labels, 1e-6).n_effective is None
    assert cp.calibrate(scores[:, :, 0, 0], labels[:, 0, 0], 0.2).n_effective is None
    assert calibrate_image_level(scores, labels, 0.1).n_effective is None
    independent = cp.calibrate(scores, labels, 0.1).n_effective
    assert independent is not None
    assert independent > 200
    # Squared sizes that could have wrapped an int64 say "unknown" instead of a wrong number.
    calibrator = Calibrator()
    calibrator.update(scores, labels)
    state = calibrator.state() | {"sizes_squared": np.array(str(2**63))}
    assert Calibrator.from_state(state).result(0.1).n_effective is None


def test_effective_sizes_of_a_stream_are_those_of_the_batch() -> None:
    scores, labels = scene(10)
    streams = [Calibrator(), Calibrator()]
    for i in (3, 1, 4, 0, 5, 9, 2, 6, 8, 7):
        streams[i % 2].update(scores[i], labels[i])
    merged = streams[0].merge(streams[1])
    assert merged.result(0.1) == cp.calibrate(scores, labels, 0.1)
    assert merged.result(0.1).n_effective == cp.calibrate(scores, labels, 0.1).n_effective


def test_counting_can_go_on_after_a_result() -> None:
    scores, labels = scene(20)
    calibrator = ImageLevelCalibrator()
    calibrator.update(scores[:10], labels[:10])
    assert calibrator.result(0.05).qhat == math.inf
    calibrator.update(scores[10:], labels[10:])
    assert calibrator.result(0.05) == calibrate_image_level(scores, labels, 0.05)


def test_image_level_with_few_images_says_that_it_is_mostly_useless() -> None:
    rng = np.random.default_rng(0)
    scores, labels = rng.random((60, 2, 4, 4)), np.zeros((60, 4, 4), dtype=int)
    for images, said in ((18, False), (20, True), (60, False)):
        calibration = calibrate_image_level(scores[:images], labels[:images], 0.05)
        assert ("may miss only 0.25 % of their pixels" in calibration.guarantee.statement) == said
