"""The checksum of values tells what befalls files and what is done to maps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from conformal_plugin.files import checksum

Map = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def scores() -> Map:
    """Planes of 512 KiB in rows of 8 KiB: whatever is swapped lies at round places of the file."""
    return np.random.default_rng(0).random((5, 64, 1024))


@pytest.mark.parametrize(
    "changed",
    [
        lambda scores: scores[::-1],
        lambda scores: scores[[0, 2, 1, 3, 4]],
        lambda scores: scores[:, ::-1],
        lambda scores: scores[:, :, ::-1],
        lambda scores: np.roll(scores, 1, axis=1),
        lambda scores: np.roll(scores, 64, axis=2),
        lambda scores: scores[:, [1, 0, *range(2, 64)]],
        lambda scores: np.where(np.arange(1024) < 512, scores, scores[:, ::-1]),
        lambda scores: np.concatenate([scores[:1], scores[:1], scores[2:]]),
        lambda scores: scores.byteswap(),
    ],
)
def test_what_is_done_to_maps(scores: Map, changed: Callable[[Map], Map]) -> None:
    assert checksum(changed(scores)) != checksum(scores)


def test_every_flipped_bit(scores: Map) -> None:
    whole = checksum(scores)
    rng = np.random.default_rng(1)
    content = bytearray(scores.tobytes())
    places = [0, len(content) - 1, *rng.integers(0, len(content), 300).tolist()]
    for place in places:
        content[place] ^= 1 << int(rng.integers(0, 8))
        damaged = np.frombuffer(content, np.float64).reshape(scores.shape)
        assert checksum(damaged) != whole
        content[place] = scores.view(np.uint8).reshape(-1)[place]


@pytest.mark.parametrize("size", [0, 1, 8167, 8168, 8169, 20000])
def test_it_is_that_of_the_values_however_they_are_held(size: int) -> None:
    values = np.random.default_rng(size).integers(0, 256, size).astype(np.uint8)
    spaced = np.repeat(values, 2)[::2]
    assert checksum(spaced) == checksum(values) == checksum(torch.from_numpy(values))
    if size:
        other = values.copy()
        other[-1] ^= 1
        assert checksum(other) != checksum(values)
