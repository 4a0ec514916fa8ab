"""Two channels from one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import conformal_plugin as cp
from conformal_plugin.errors import InputTypeError, ScoreError, ShapeError


@pytest.mark.parametrize(
    ("shape", "result"),
    [((4, 5), (2, 4, 5)), ((1, 4, 5), (2, 4, 5)), ((3, 1, 4, 5), (3, 2, 4, 5))],
)
def test_background_is_the_complement(shape: tuple[int, ...], result: tuple[int, ...]) -> None:
    probability = np.random.default_rng(0).random(shape).astype(np.float32)
    maps = cp.from_foreground(probability)
    assert maps.shape == result
    assert maps.dtype == np.float32
    foreground, background = np.take(maps, 1, axis=-3), np.take(maps, 0, axis=-3)
    assert np.array_equal(foreground, probability.reshape(foreground.shape))
    assert np.array_equal(background, 1 - foreground)
    assert torch.equal(cp.from_foreground(torch.from_numpy(probability)), torch.from_numpy(maps))


def test_a_binary_map_goes_all_the_way() -> None:
    rng = np.random.default_rng(1)
    probability = rng.random((1, 30, 30))
    truth = (rng.random((30, 30)) < probability[0]).astype(np.uint8)
    maps = cp.from_foreground(probability)
    calibration = cp.calibrate(maps, truth, 0.1)
    assert cp.evaluate(maps, truth, calibration).coverage == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize(
    ("probability", "error", "message"),
    [
        (np.zeros((2, 4, 4)), ShapeError, r"got \(2, 4, 4\); pass the foreground channel alone"),
        (np.zeros(4), ShapeError, "must have shape"),
        (np.full((4, 4), 255, np.uint8), InputTypeError, "uint8; divide it"),
        (np.full((4, 4), 3.0), ScoreError, "sigmoid"),
        (np.full((4, 4), np.nan), ScoreError, "NaN"),
    ],
)
def test_refusals(probability: np.ndarray, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        cp.from_foreground(probability)
