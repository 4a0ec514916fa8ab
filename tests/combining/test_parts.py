"""Maps that are combined part by part give what they give in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from conformal_plugin.combining import _parts, fit_pick, fit_route, fit_stack, mean_of
from conformal_plugin.errors import LabelError, OptionError, ScoreError, ShapeError
from conformal_plugin.files import MapStore, _large_maps as large_maps, open_map, rounded

CLASSES = 3
SIZES = ((37, 21), (11, 6, 5))


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_maps, "PART_BYTES", 5 * CLASSES * 21 * 4)
    monkeypatch.setattr(_parts, "_STEP_BYTES", 3 * CLASSES * 21 * 4)


def image(folder: Path, size: tuple[int, ...], seed: int) -> tuple[list[Any], list[Any], Any]:
    """Maps of three annotators in memory; the same, of which two are read in parts; the label."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, size)
    maps: list[Any] = []
    for sure in (0.2, 0.4, 0.6):
        scores = sure * np.eye(CLASSES)[labels] + (1 - sure) * rng.dirichlet(np.ones(CLASSES), size)
        maps.append(np.ascontiguousarray(np.moveaxis(scores, -1, 0), np.float32))
    maps[1] = maps[1].astype(np.float16)  # whose parts have other heights
    maps[2] = torch.from_numpy(maps[2])
    labels[rng.random(size) < 0.2] = 255
    in_parts: list[Any] = []
    for number, scores in enumerate(maps[:2]):
        np.save(folder / f"{seed}-{number}.npy", scores)
        in_parts.append(open_map(folder / f"{seed}-{number}.npy"))
    return maps, [*in_parts, maps[2]], labels


@pytest.mark.parametrize("size", SIZES)
def test_rules_and_what_they_are_fitted_to(tmp_path: Path, size: tuple[int, ...]) -> None:
    images = [image(tmp_path, size, seed) for seed in range(4)]
    whole = [(f"im{i}", maps, label) for i, (maps, _, label) in enumerate(images)]
    parts = [(f"im{i}", maps, label) for i, (_, maps, label) in enumerate(images)]
    for fit in (fit_pick, fit_stack, lambda given: fit_route(given, epsilon=0.5, delta=0.5)):
        assert fit(whole) == fit(parts)
    for rule in (mean_of(3, CLASSES), fit_pick(whole), fit_stack(whole)):
        (maps, in_parts, _), *_ = images
        combined = rule.in_parts(in_parts)
        assert combined.shape == (CLASSES, *size)
        assert len(list(combined.parts())) > 3
        np.testing.assert_array_equal(combined.whole(), rule(maps))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("precision", [9, 11, 16])
def test_a_store_takes_parts(tmp_path: Path, size: tuple[int, ...], precision: int) -> None:
    maps, in_parts, _ = image(tmp_path, size, 0)
    rule = mean_of(3, CLASSES)
    store = MapStore(tmp_path / "s", annotator={}, class_names=tuple("abc"), precision=precision)
    store.write("parts", rule.in_parts(in_parts))
    store.write("whole", rule(maps))
    np.testing.assert_array_equal(store.read("parts"), rounded(rule(maps), precision))
    assert store.path("parts").read_bytes() == store.path("whole").read_bytes()
    other = MapStore(tmp_path / "o", annotator={}, class_names=tuple("ab"))
    with pytest.raises(OptionError, match="has 3 classes and the store 2"):
        other.write("parts", rule.in_parts(in_parts))


def test_what_does_not_fit(tmp_path: Path) -> None:
    maps, in_parts, labels = image(tmp_path, SIZES[0], 0)
    rule = mean_of(3, CLASSES)
    with pytest.raises(ShapeError, match=r"one shape.*\(3, 37, 21\) and \(3, 36, 21\)"):
        rule.in_parts([*in_parts[:2], maps[2][:, :-1]])
    with pytest.raises(OptionError, match="of 3 annotators, got 2 maps"):
        rule.in_parts(in_parts[:2])
    with pytest.raises(ShapeError, match="has 2 classes and the maps 3"):
        mean_of(3, 2).in_parts(in_parts)
    maps[0][1, 36, 20] = np.nan  # in the last part
    np.save(tmp_path / "nan.npy", maps[0])
    with pytest.raises(ScoreError, match="the map of annotator 0"):
        rule.in_parts([open_map(tmp_path / "nan.npy"), *in_parts[1:]]).whole()
    labels[36, 20] = 7
    with pytest.raises(LabelError, match="holds 7, which is neither a class"):
        fit_pick([("a", in_parts, labels)])
    with pytest.raises(ShapeError, match="image a: the label is"):
        fit_stack([("a", in_parts, labels[:, 1:])])
