"""At most a share of each image keeps a label: which pixels, and the same ones everywhere."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import conformal_plugin.labelling._cpu_labels as cpu_labels
from conformal_plugin import Calibration, ConformalSupervision, calibrate, evaluate, filter
from conformal_plugin.errors import CalibrationFileError, ShapeError
from conformal_plugin.labelling import most_kept, spread_order

RULES = ("foreground-first", "most-probable", "singleton")


def maps(dtype: str = "float32", images: int = 3) -> np.ndarray[Any, Any]:
    rng = np.random.default_rng(7)
    eighths = rng.integers(0, 9, (images, 4, 13, 17))
    return (eighths / 8).astype(dtype)


def capped(rule: str, cap: float | None, of: str = "all", qhat: float = 0.6) -> Calibration:
    scores = maps()
    made = calibrate(scores, np.zeros((3, 13, 17), dtype=int), 0.5)
    return replace(made, qhat=qhat, rule=rule, background=1, cap=cap, of=of)


@pytest.mark.parametrize("of", ["all", "foreground"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("cap", [0.001, 0.1, 0.37, 0.9])
def test_the_surest_stay_and_no_more_than_the_cap(rule: str, cap: float, of: str) -> None:
    scores = maps()
    before = filter(scores, capped(rule, None))
    after = filter(scores, capped(rule, cap, of))
    most = most_kept(cap, 13 * 17)
    for image, full, kept in zip(scores, before, after):
        counts = full != 255
        if of == "foreground":
            counts &= full != 1
            assert np.array_equal(kept[~counts], full[~counts])  # nothing else is touched
        stays = counts & (kept != 255)
        assert np.array_equal(kept[stays], full[stays])
        assert stays.sum() == min(most, counts.sum())
        own = np.take_along_axis(image, np.where(counts, full, 0)[None].astype(int), axis=0)[0]
        worth = own + 2 * (full != 1) * (rule == "foreground-first")
        gone = counts & ~stays
        if gone.any() and stays.any():
            assert worth[stays].min() >= worth[gone].max()


def test_equal_scores_stay_all_over_the_image() -> None:
    """Half of a plain sky: each quarter of the image keeps about half of its pixels."""
    scores = np.zeros((2, 64, 48), dtype=np.float16)
    scores[0] = 1.0
    made = calibrate(scores, np.zeros((64, 48), dtype=int), 0.5)
    calibration = replace(made, qhat=0.5, rule="foreground-first", background=0, cap=0.5)
    kept = filter(scores, calibration) != 255
    assert kept.sum() == 64 * 48 // 2
    quarters = kept.reshape(2, 32, 2, 24).mean(axis=(1, 3))
    assert np.abs(quarters - 0.5).max() < 0.03


@pytest.mark.parametrize("pixels", [1, 2, 3, 4, 10, 221, 4096, 50_176])
def test_the_order_takes_every_pixel_once(pixels: int) -> None:
    order, place = spread_order(pixels)
    assert torch.equal(order[place], torch.arange(pixels))
    assert torch.equal(place[order], torch.arange(pixels))


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("rule", RULES)
def test_every_way_to_the_labels_gives_the_same(
    rule: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores, calibration = maps(dtype), capped(rule, 0.3)
    labels = filter(scores, calibration)
    assert np.array_equal(labels, np.stack([filter(each, calibration) for each in scores]))
    assert np.array_equal(labels, filter(torch.from_numpy(scores), calibration).numpy())
    last = np.ascontiguousarray(np.moveaxis(scores, 1, -1))  # the memory of channels-last maps
    assert np.array_equal(labels, filter(np.moveaxis(last, -1, 1), calibration))
    truth = np.random.default_rng(0).integers(0, 4, labels.shape)
    measured = evaluate(scores, truth, calibration)
    assert measured.kept_pixels == (labels != 255).sum()
    assert measured.image_kept.tolist() == (labels != 255).sum(axis=(1, 2)).tolist()
    wrong = (labels != 255) & (labels != truth)
    foreground = labels != 1
    assert measured.image_wrong.tolist() == wrong.sum(axis=(1, 2)).tolist()
    of_foreground = (wrong & foreground).sum(axis=(1, 2)).tolist()
    assert np.asarray(measured.image_wrong_foreground).tolist() == of_foreground
    assert np.asarray(measured.image_areas).tolist() == [13 * 17] * 3
    monkeypatch.setattr(cpu_labels, "loops_for", lambda *_: None)  # without compiled loops
    assert np.array_equal(labels, filter(scores, calibration))


def test_training_filters_maps_as_filter_does() -> None:
    scores, calibration = maps(), capped("foreground-first", 0.3)
    supervise = ConformalSupervision(torch.nn.CrossEntropyLoss(), calibration=calibration)
    logits = torch.zeros(3, 4, 13, 17)
    on_the_fly = supervise(logits, torch.from_numpy(scores))
    labels = torch.from_numpy(filter(scores, calibration)).long()
    assert on_the_fly.item() == pytest.approx(supervise(logits, labels).item())
    kept = supervise.summary()["kept"]
    assert kept == pytest.approx(float((labels != 255).float().mean()))


def test_a_file_with_a_cap_is_not_read_by_releases_that_know_none() -> None:
    plain, cap = capped("most-probable", None), capped("most-probable", 0.3, "foreground")
    assert json.loads(plain.to_json())["version"] == 1
    assert json.loads(cap.to_json())["version"] == 2
    for each in (plain, cap):
        assert Calibration.from_json(each.to_json()) == each
    assert "cap=0.3, of='foreground'" in repr(cap)
    for name, value in (("cap", 1.5), ("cap", "all"), ("of", "sky"), ("version", 3)):
        content = {**json.loads(cap.to_json()), name: value}
        with pytest.raises(CalibrationFileError):
            Calibration.from_json(json.dumps(content))


def test_points_are_of_no_image() -> None:
    with pytest.raises(ShapeError, match="separate points .* are of none"):
        evaluate(np.full((5, 4), 0.25), np.zeros(5, dtype=int), capped("most-probable", 0.3))
