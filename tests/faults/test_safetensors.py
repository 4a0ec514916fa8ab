"""A ``.safetensors`` is read as its library reads it, and what its header says is not believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from conformal_plugin.errors import SourceFileError
from conformal_plugin.files import read_map

SHAPE = (3, 4, 5)
DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8")
WHOLE = {"dtype": "F16", "shape": [*SHAPE], "data_offsets": [0, 120]}


def written(path: Path, header: Any, values: int = 120) -> Path:
    said = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(said).to_bytes(8, "little") + said + bytes(values))
    return path


@pytest.mark.parametrize("kind", [*DTYPES, "bool", "float8_e4m3fn", "float8_e5m2"])
def test_every_kind_of_values_comes_back_as_the_library_gives_it(tmp_path: Path, kind: str) -> None:
    dtype = getattr(torch, kind)
    scores = torch.arange(60).reshape(SHAPE).to(dtype)
    before, behind = torch.zeros(7, dtype=torch.uint8), torch.ones(9, dtype=torch.int64)
    path = tmp_path / "a.safetensors"
    save_file({"probs": scores, "a": before, "z": behind}, str(path), metadata={"made": "here"})
    found = read_map(path)
    assert isinstance(found, torch.Tensor)
    assert (found.dtype, found.shape) == (dtype, SHAPE)
    raw, theirs = (one.view(torch.uint8).numpy() for one in (found, load_file(path)["probs"]))
    np.testing.assert_array_equal(raw, theirs)


def test_no_other_tensor_is_read(tmp_path: Path) -> None:
    header = {
        "probs": WHOLE,
        "large": {"dtype": "U8", "shape": [9999], "data_offsets": [120, 10119]},
    }
    path = written(tmp_path / "a.safetensors", header, 10119)
    assert tuple(read_map(path, max_bytes=120).shape) == SHAPE
    with pytest.raises(SourceFileError, match="takes 9999 bytes in memory"):
        read_map(path, "large", max_bytes=120)


@pytest.mark.parametrize(
    "header",
    [
        {"probs": {**WHOLE, "data_offsets": [2, 122]}},
        {"probs": {**WHOLE, "data_offsets": [120, 0]}},
        {"probs": {**WHOLE, "data_offsets": [0, 122]}},
        {"probs": {**WHOLE, "data_offsets": [0, 120, 0]}},
        {"probs": {**WHOLE, "shape": [3, 4, 4], "data_offsets": [0, 96]}},
        {"probs": {**WHOLE, "shape": [3, 4, 4]}},
        {"probs": {**WHOLE, "shape": [3, 4, -5]}},
        {"probs": {**WHOLE, "shape": [3, 4, 5.0]}},
        {"probs": {**WHOLE, "shape": [True, 60]}},
        {"probs": {**WHOLE, "shape": [10**9] * 100_000}},
        {"probs": {**WHOLE, "shape": None}},
        {"probs": {**WHOLE, "dtype": "F4"}},
        {"probs": {**WHOLE, "dtype": ["F16"]}},
        {"probs": [1, 2, 3]},
        {"probs": {"dtype": "F16", "shape": [*SHAPE]}},
        b'{"probs": 1, "probs": 2}',
        [WHOLE],
        b"\xff\xff",
        {},
    ],
)
def test_a_header_that_does_not_fit_is_refused(tmp_path: Path, header: Any) -> None:
    with pytest.raises(SourceFileError) as caught:
        read_map(written(tmp_path / "a.safetensors", header))
    assert "a.safetensors" in str(caught.value)


def test_a_file_that_is_cut_while_it_is_read_is_refused(tmp_path: Path, monkeypatch) -> None:
    large = {"dtype": "U8", "shape": [2, 100, 500], "data_offsets": [0, 100_000]}  # than a buffer
    path = written(tmp_path / "a.safetensors", {"probs": large}, 100_000)
    allocate = np.empty

    def cut(*arguments: Any) -> np.ndarray:
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 1)
        return allocate(*arguments)

    monkeypatch.setattr(np, "empty", cut)
    with pytest.raises(SourceFileError, match="ends before its values do"):
        read_map(path)
