"""Codes keep the order of scores; the least score draws the set's border exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st

from conformal_plugin.errors import InputTypeError
from conformal_plugin.scores import grid_named, grid_of


def all_scores(name: str) -> torch.Tensor:
    """Every score of [0, 1] that a small dtype holds, ascending."""
    if name == "float16":
        return torch.arange(0x3C00 + 1, dtype=torch.int16).view(torch.float16)
    if name == "bfloat16":
        return torch.arange(0x3F80 + 1, dtype=torch.int16).view(torch.bfloat16)
    return torch.from_numpy(np.arange(np.iinfo(name).max + 1, dtype=name))


SMALL = ["float16", "bfloat16", "uint8", "int8", "int16"]
SMALL += ["uint16"] if hasattr(torch, "uint16") else []  # torch 2.3 has it


@pytest.mark.parametrize("name", SMALL)
def test_small_dtypes_have_one_code_per_score(name: str) -> None:
    scores = all_scores(name)
    grid = grid_of(scores)
    assert torch.equal(grid.codes_of(grid.patterns(scores)).long(), torch.arange(grid.size))
    edges = np.array([grid.lower_edge(code) for code in range(grid.size)])
    expected = (
        scores.double().numpy()
        if scores.dtype.is_floating_point
        else scores.numpy() / np.iinfo(name).max
    )
    assert np.array_equal(edges, expected)
    assert (edges[0], edges[-1]) == (0.0, 1.0)


@pytest.mark.parametrize("name", ["float32", "float64"])
def test_bins_are_ordered_narrow_and_tile_the_interval(name: str) -> None:
    grid = grid_named(name)
    edges = np.array([grid.lower_edge(code) for code in range(0, grid.size, 7)] + [1.0])
    assert (np.diff(edges) > 0).all()
    widths = []
    for code in np.random.default_rng(0).integers(0, grid.size - 1, 2000):
        first, last = grid.pattern_range(int(code))
        following = grid.pattern_range(int(code) + 1)[0]
        assert following == last + 1
        widths.append(grid.value(following) - grid.value(first))
        assert last - first < 2 ** (16 if name == "float32" else 45)
    assert max(widths) <= grid.resolution == 2.0**-16
    assert grid.pattern_range(grid.size - 1) == (grid.top, grid.top)


@pytest.mark.parametrize("name", ["float32", "float64"])
@given(scores=st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_codes_hold_their_scores(name: str, scores: list[float]) -> None:
    grid = grid_named(name)
    tensor = torch.tensor(scores, dtype=getattr(torch, name))
    codes = grid.codes_of(grid.patterns(tensor)).tolist()
    for score, code in zip(tensor.double().tolist(), codes):
        first, last = grid.pattern_range(code)
        assert grid.value(first) <= score <= grid.value(last)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "float32", "float64"])
def test_invalid_scores_have_patterns_beyond(name: str) -> None:
    grid = grid_named(name)
    bad = [float("nan"), -1e-6, -1.0, float("inf"), -float("inf"), 1.01, 300.0]
    patterns = grid.patterns(torch.tensor(bad, dtype=getattr(torch, name)))
    assert ((patterns < 0) | (patterns > grid.top)).all()


@pytest.mark.parametrize("name", ["float16", "bfloat16", "uint8", "int16"])
@given(qhat=st.floats(-0.5, 1.5))
def test_least_draws_the_border_exactly_for_every_score(name: str, qhat: float) -> None:
    scores = all_scores(name)
    grid = grid_named(name)
    least = grid.least(qhat)
    real = np.array([grid.value(int(p)) for p in range(grid.size)])
    by_definition = 1.0 - real <= qhat
    by_least = (
        np.zeros(len(real), bool)
        if least is None
        else (scores.double() if scores.dtype.is_floating_point else scores.long()).numpy() >= least
    )
    assert np.array_equal(by_definition, by_least)


@pytest.mark.parametrize("name", ["float32", "float64"])
@given(qhat=st.floats(-0.1, 1.1), score=st.floats(0, 1))
def test_least_draws_the_border_of_wide_floats(name: str, qhat: float, score: float) -> None:
    grid = grid_named(name)
    least = grid.least(qhat)
    dtype = np.dtype(name).type
    candidates = [dtype(score), dtype(0), dtype(1)]
    if least is not None:
        edge = dtype(least)
        assert float(edge) == least
        candidates += [edge, np.nextafter(edge, dtype(-1)), np.nextafter(edge, dtype(2))]
    for value in candidates:
        if 0 <= value <= 1:
            assert (1.0 - float(value) <= qhat) == (least is not None and float(value) >= least)


def test_other_dtypes_are_refused() -> None:
    for dtype in (torch.bool, torch.int64, torch.complex64):
        with pytest.raises(InputTypeError, match=r"8- or 16-bit integers .* got .*float32"):
            grid_of(torch.zeros(2, dtype=dtype))
