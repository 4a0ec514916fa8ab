"""P-values of labels within their class, weights made of them, and labels that stay by these."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conformal_plugin import Calibration, calibrate, choose, filter
from conformal_plugin.calibration import STEPS
from conformal_plugin.errors import CalibrationFileError, OptionError, ShapeError
from conformal_plugin.files import _large_maps as large_maps, open_map
from conformal_plugin.labelling import label_weights, p_values, thin

Array = np.ndarray[Any, Any]


def scenes(
    images: int = 12, seed: int = 0, dtype: str = "float16", classes: int = 3
) -> tuple[Array, Array]:
    """Scores of independent pixels, so that p-values of true classes are exactly uniform."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (images, 24, 20))
    right = labels[:, None] == np.arange(classes)[:, None, None]
    noise = rng.random((images, classes, 24, 20))
    return (0.6 * noise + 0.4 * right).astype(dtype), labels.astype(np.uint8)


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    found = choose(*scenes(), background=None).calibration
    assert found is not None
    return found


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_a_p_value_is_the_share_of_the_class_that_scores_no_more(dtype: str) -> None:
    scores, labels = scenes(dtype=dtype)
    made = choose(scores, labels, background=None).calibration
    assert made is not None
    others, _ = scenes(2, seed=1, dtype=dtype)
    given = filter(others, made)
    own = np.take_along_axis(scores, labels[:, None], axis=1)[:, 0]
    found = p_values(others, given, made)
    for c in range(3):
        of_class, here = own[labels == c], given == c
        mine = np.take_along_axis(others, np.where(given == 255, 0, given)[:, None], axis=1)[:, 0]
        below = (of_class[:, None] <= mine[here]).sum(axis=0)
        exact = (below + 1) / (len(of_class) + 1)
        assert abs(found[here] - exact).max() <= 0.5 / STEPS + 1e-3


def test_of_the_true_class_they_are_uniform(calibration: Calibration) -> None:
    scores, labels = scenes(40, seed=2)
    found = p_values(scores, labels, calibration)
    shares = np.array([(found == (step + 0.5) / STEPS).mean() for step in range(STEPS)])
    assert shares.sum() == pytest.approx(1)
    assert abs(shares - 1 / STEPS).max() < 0.012  # 19,200 pixels, 5,760 calibration pixels


def test_wrong_labels_have_small_ones(calibration: Calibration) -> None:
    scores, labels = scenes(10, seed=3)
    wrong = (labels + 1) % 3
    assert p_values(scores, wrong, calibration).mean() < 0.25
    assert p_values(scores, labels, calibration).mean() > 0.45


def test_dropped_pixels_have_none(calibration: Calibration) -> None:
    scores, labels = scenes(1)
    labels[0, :5] = 255
    found = p_values(scores[0], labels[0], calibration)
    assert (found[:5] == 0).all()
    assert (found[5:] > 0).all()
    as_int = labels[0].astype(np.int64)
    as_int[:5] = -1
    assert np.array_equal(found, p_values(scores[0], as_int, calibration))


def test_the_same_of_every_kind_and_shape(calibration: Calibration) -> None:
    scores, labels = scenes(4)
    found = p_values(scores, labels, calibration)
    assert found.dtype == np.float32
    of_tensor = p_values(torch.from_numpy(scores), torch.from_numpy(labels), calibration)
    assert isinstance(of_tensor, torch.Tensor)
    assert np.array_equal(of_tensor.numpy(), found)
    for image, label, expected in zip(scores, labels, found):
        assert np.array_equal(p_values(image, label, calibration), expected)
    volume = p_values(scores.swapaxes(0, 1)[None], labels[None], calibration)
    assert np.array_equal(volume[0], found)
    bfloat = torch.from_numpy(scores).to(torch.bfloat16)
    assert p_values(bfloat, torch.from_numpy(labels), calibration).shape == found.shape


@pytest.mark.parametrize("size", [(37, 21), (9, 12, 10)])
def test_maps_in_parts_give_what_they_give_whole(
    calibration: Calibration, size: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large_maps, "PART_BYTES", 3 * 2 * 21 * 12)
    scores = np.random.default_rng(4).random((3, *size)).astype(np.float16)
    np.save(tmp_path / "map.npy", scores)
    whole = scores if len(size) == 2 else scores[None]
    labels = filter(whole, calibration).reshape(size)
    parts = open_map(tmp_path / "map.npy")
    assert len(list(parts.parts())) > 1
    found = label_weights(parts, labels, calibration)
    thinned = thin(labels, parts, calibration, seed=3)
    given = labels if len(size) == 2 else labels[None]
    assert np.array_equal(found, label_weights(whole, given, calibration).reshape(size))
    expected = thin(given, whole, calibration, seed=3)
    assert np.array_equal(thinned, expected.reshape(size))


def test_few_images_of_a_class_are_compared_with_all_classes() -> None:
    scores, labels = scenes(classes=4)
    labels[4:][labels[4:] == 3] = 0  # class 3 is in four images
    found = choose(scores, labels, background=None).calibration
    assert found is not None
    assert found.label_weights is not None
    pooled = [calibrate(scores, labels, step / STEPS).qhat for step in range(1, STEPS)]
    assert found.label_weights.ladder[:, 3].tolist() == pooled


def test_weights_are_p_values_over_the_mean_of_their_class(calibration: Calibration) -> None:
    scores, _ = scenes()  # those that the means are of
    labels = filter(scores, calibration)
    values, weights = (f(scores, labels, calibration) for f in (p_values, label_weights))
    assert weights.dtype == np.float32
    assert (weights[labels == 255] == 0).all()
    for c in range(3):
        own = labels == c
        assert weights[own].mean() == pytest.approx(1)
        assert np.allclose(weights[own], values[own] / values[own].mean())


def test_a_class_without_labels_counts_as_if_all_were_right() -> None:
    scores, labels = scenes(classes=4)
    scores[:, 3], labels[labels == 3] = 0, 0
    found = choose(scores, labels, background=None).calibration
    assert found is not None
    assert found.label_weights is not None
    assert found.label_weights.means[3] == 0.5


def test_what_stays_is_a_draw(calibration: Calibration) -> None:
    scores, _ = scenes(3, seed=5)
    labels = filter(scores, calibration)
    chance = np.minimum(label_weights(scores, labels, calibration) / 2, 1)
    draws = np.stack([thin(labels, scores, calibration, seed=seed) for seed in range(200)])
    assert draws.dtype == labels.dtype
    assert ((draws == labels) | (draws == 255)).all()
    stays = (draws != 255).mean(axis=0)
    assert abs(stays - chance)[labels != 255].max() < 0.16  # 4.5 standard errors of 200 draws
    assert abs((stays - chance).mean()) < 0.005
    again = thin(torch.from_numpy(labels), torch.from_numpy(scores), calibration, seed=7)
    assert np.array_equal(again.numpy(), draws[7])


def test_another_ignore_index_is_that_of_the_labels(calibration: Calibration) -> None:
    scores, _ = scenes(1)
    labels = filter(scores[0], calibration, ignore_index=9)
    thinned = thin(labels, scores[0], calibration, ignore_index=9)
    assert set(np.unique(thinned)) <= {0, 1, 2, 9}
    assert (thinned == 9).sum() > (labels == 9).sum()


def test_a_calibration_of_one_level_has_none() -> None:
    scores, labels = scenes()
    with pytest.raises(OptionError, match="thresholds of all levels, which this calibration does"):
        p_values(scores, labels, calibrate(scores, labels, 0.1))


def test_labels_and_scores_of_others_are_refused(calibration: Calibration) -> None:
    scores, labels = scenes(2)
    with pytest.raises(ShapeError, match="labels must be of the size of the masks"):
        p_values(scores, labels[:, :-1], calibration)
    with pytest.raises(ShapeError, match="made with 3 classes and the masks have 2"):
        p_values(scores[:, :2], labels, calibration)


def test_they_are_kept_on_disk(calibration: Calibration) -> None:
    again = Calibration.from_json(calibration.to_json())
    ours, theirs = again.label_weights, calibration.label_weights
    assert ours is not None
    assert theirs is not None
    assert again == calibration
    for mine, saved in ((ours.ladder, theirs.ladder), (ours.means, theirs.means)):
        assert np.array_equal(mine, saved)
        assert not mine.flags.writeable
    assert "label_weights" not in json.loads(replace(calibration, label_weights=None).to_json())


@pytest.mark.parametrize(
    "damage",
    [
        *({"ladder": x} for x in ([], [[0.5] * 3] * 14, [[0.5] * 2] * 15, [0.5] * 15, "x")),
        *(
            {"means": x}
            for x in ([0.5] * 2, [0.5, 0.0, 0.5], [0.5, 2.0, 0.5], 0.5, [0.5, "inf", 1])
        ),
    ],
)
def test_a_damaged_file_is_refused(calibration: Calibration, damage: dict[str, Any]) -> None:
    content = json.loads(calibration.to_json())
    content["label_weights"] |= damage
    with pytest.raises(CalibrationFileError, match="damaged"):
        Calibration.from_json(json.dumps(content))
