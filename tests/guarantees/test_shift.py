"""Labelled beside unlabelled maps: an exact level, power, what is told, and where it is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from conformal_plugin import Calibration, calibrate
from conformal_plugin.errors import OptionError, ScoreError, ShapeError, TooFewImagesError
from conformal_plugin.evaluation import (
    MapMeasures,
    _shift as shift_module,
    measure_map,
    shift_between,
    shift_of_measures,
)

ALARM = 1e-3


def measures(rng: np.random.Generator, images: int, tilt: float = 0.0) -> list[MapMeasures]:
    """Measures with ties, heavy tails and rare classes, as maps have them."""
    found = []
    for _ in range(images):
        general = rng.standard_t(2, 7)
        general[4:] = rng.integers(1, 4, 3)
        general[0] += tilt
        shares = rng.dirichlet(np.full(4, 0.2)) * (rng.random(4) < [1, 0.9, 0.3, 0.02])
        found.append(MapMeasures(general, shares))
    return found


@pytest.mark.parametrize("sizes", [(12, 60), (50, 50)])
def test_the_level_is_kept(monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, int]) -> None:
    monkeypatch.setattr(shift_module, "_DRAWS", 199)
    rng = np.random.default_rng(sizes[0])
    runs = 600
    p = np.array(
        [
            shift_of_measures(measures(rng, sizes[0]), measures(rng, sizes[1])).p_value
            for _ in range(runs)
        ]
    )
    for level in (0.01, 0.05, 0.2, 0.5):
        assert (p <= level).sum() <= binom.isf(ALARM, runs, level), level
        # And not by being blind: a permutation test uses up its level.
        assert (p <= level).sum() >= binom.ppf(ALARM, runs, level * 0.9), level


def test_the_level_is_kept_by_groups_and_lost_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shift_module, "_DRAWS", 199)
    rng = np.random.default_rng(3)
    runs, level = 150, 0.05
    found = {"named": 0, "ignored": 0}
    for _ in range(runs):
        sides, labels = [], []
        for side, groups in (("l", 10), ("u", 20)):
            sides.append([one for one in measures(rng, groups) for _ in range(8)])
            labels.append([f"{side}{g}" for g in range(groups) for _ in range(8)])
        named = shift_of_measures(*sides, groups=labels[0], unlabelled_groups=labels[1])
        found["named"] += named.p_value <= level
        found["ignored"] += shift_of_measures(*sides).p_value <= level
    most = binom.isf(ALARM, runs, level)
    assert found["named"] <= most < found["ignored"]


def test_a_difference_is_seen_and_named() -> None:
    rng = np.random.default_rng(4)
    maps = rng.dirichlet(np.ones(3), (120, 6, 8)).transpose(0, 3, 1, 2)
    same = shift_between(maps[:40], maps[40:])
    assert same.p_value > 0.01
    assert "look exchangeable" in same.statement
    assert (same.n_labelled, same.n_unlabelled, same.unit) == (40, 80, "image")
    sure = maps**3
    other = shift_between(maps[:40], sure[40:] / sure[40:].sum(axis=1, keepdims=True))
    assert other.p_value == pytest.approx(1e-4)
    assert other.differences[0].p_value == other.p_value
    assert "not exchangeable" in other.statement
    assert "mean score of the most probable class" in other.statement
    # A spread alone, the means being equal.
    wide = np.concatenate([maps[40:80] ** 0.2, maps[80:] ** 4])
    wide /= wide.sum(axis=1, keepdims=True)
    assert shift_between(maps[:40], wide).p_value <= 0.01
    small = shift_between(maps[:40], maps[40:, :, :3])
    assert "pixels of the image" in small.statement
    assert shift_between(maps[:40], sure[40:]).comparison.p_value <= 0.01


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float64])
def test_measures_of_a_map_are_what_they_are_called(dtype: Any) -> None:
    rng = np.random.default_rng(5)
    scores = rng.random((4, 5, 7))
    given = (scores * 255).round().astype(np.uint8) if dtype is np.uint8 else scores.astype(dtype)
    values = given / 255 if dtype is np.uint8 else given.astype(np.float64)
    found = measure_map(given)
    ordered = np.sort(values.reshape(4, -1), axis=0)
    best, second = ordered[-1], ordered[-2]
    expected = [best.mean(), np.sort(best)[round(0.1 * 35) - 1], (best - second).mean()]
    assert found.general[:3] == pytest.approx(expected, abs=1e-6)
    assert found.general[3] == pytest.approx(values.sum(axis=0).mean(), abs=0.006)
    assert found.general[4:].tolist() == [4, 35, 5 / 7]
    assert found.shares.sum() == pytest.approx(1)
    assert len(MapMeasures.names(4)) == 11


def test_what_cannot_be_compared_is_refused() -> None:
    maps = np.random.default_rng(6).random((6, 3, 4, 4))
    with pytest.raises(TooFewImagesError, match="two unlabelled images at least"):
        shift_between(maps[:3], maps[3:4])
    with pytest.raises(ShapeError, match="different numbers of classes"):
        shift_between(maps[:3], maps[3:, :2])
    with pytest.raises(ScoreError):
        shift_between(maps[:3], 2 + maps[3:])
    with pytest.raises(OptionError, match="1 groups, 'a' for one, have labelled and unlabelled"):
        shift_between(maps[:3], maps[3:], groups=list("abc"), unlabelled_groups=list("ade"))
    with pytest.raises(OptionError, match="both groups and unlabelled_groups"):
        shift_between(maps[:3], maps[3:], groups=list("abc"))
    flat = np.full((6, 3, 4, 4), 0.5)
    assert shift_between(flat[:3], flat[3:]).p_value == 1.0  # nothing varies


def test_a_calibration_remembers_the_comparison(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    maps = rng.random((12, 3, 4, 4))
    calibration = calibrate(maps, rng.integers(0, 3, (12, 4, 4)), 0.2)
    comparison = shift_between(maps[:6], maps[6:]).comparison
    remembered = replace(calibration, comparison=comparison)
    remembered.save(tmp_path / "c.json")
    assert Calibration.load(tmp_path / "c.json") == remembered
    assert Calibration.load(tmp_path / "c.json").comparison == comparison
    assert "comparison" not in calibration.to_json()
