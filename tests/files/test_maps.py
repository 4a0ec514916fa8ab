"""Maps in every format come back to the bit; whatever is unclear is refused by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as hnp
from safetensors.torch import save_file

from conformal_plugin.errors import ShapeError, SourceFileError
from conformal_plugin.files import map_files, read_map

# .cpmap: tests/store; .h5, .nii, .tif: test_other_formats.py
ARRAY_FILES = (".npz", ".npy", ".pt", ".safetensors")


def save(path, scores, key="probs"):
    if path.suffix == ".npz":
        np.savez_compressed(path, **{key: scores})
    elif path.suffix == ".npy":
        np.save(path, scores)
    elif path.suffix == ".pt":
        torch.save({key: torch.from_numpy(scores)}, path)
    else:
        save_file({key: torch.from_numpy(scores)}, str(path))


MAPS = hnp.arrays(
    st.sampled_from([np.float16, np.float32, np.float64, np.uint8]),
    hnp.array_shapes(min_dims=3, max_dims=3, max_side=4),
    elements={"min_value": 0, "max_value": 1},
)


@given(MAPS, st.sampled_from(ARRAY_FILES), st.sampled_from(["probs", "scores"]))
def test_what_was_saved_comes_back(tmp_path_factory, scores, suffix, key):
    path = tmp_path_factory.mktemp("maps") / f"a{suffix}"
    save(path, scores, key)
    got = np.asarray(read_map(path))
    assert got.dtype == scores.dtype
    np.testing.assert_array_equal(got, scores)


def test_a_bare_tensor_and_bfloat16(tmp_path):
    scores = torch.rand(2, 3, 4).to(torch.bfloat16)
    torch.save(scores, tmp_path / "a.pt")
    assert torch.equal(read_map(tmp_path / "a.pt"), scores)
    save_file({"x": scores}, str(tmp_path / "b.safetensors"))
    assert torch.equal(read_map(tmp_path / "b.safetensors"), scores)


@pytest.mark.parametrize("suffix", [".npz", ".pt", ".safetensors"])
def test_the_key_decides_among_several(tmp_path, suffix):
    arrays = {"probs": np.zeros((2, 1, 1)), "other": np.ones((2, 1, 1))}
    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)
    else:
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        torch.save(tensors, path) if suffix == ".pt" else save_file(tensors, str(path))
    assert float(read_map(path).max()) == 0
    assert float(read_map(path, "other").max()) == 1
    with pytest.raises(SourceFileError, match=r"no array 'mask'; it holds .*'probs'.*--key"):
        read_map(path, "mask")


def test_several_arrays_without_the_default_need_a_key(tmp_path):
    np.savez(tmp_path / "a.npz", one=np.zeros((2, 1, 1)), two=np.zeros((2, 1, 1)))
    with pytest.raises(SourceFileError, match="no array 'probs'; it holds 'one', 'two'"):
        read_map(tmp_path / "a.npz")


@pytest.mark.parametrize("suffix", ARRAY_FILES)
def test_damaged_files_are_named(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    save(path, np.random.default_rng(0).random((3, 40, 40)).astype(np.float32))
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"nonsense " * 20):
        path.write_bytes(content)
        with pytest.raises(SourceFileError, match=rf"cannot read the map .*a\{suffix}"):
            read_map(path)


def test_pickles_are_never_run(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(SourceFileError, match="without pickled objects"):
        read_map(tmp_path / "a.npy")
    torch.save({"probs": SourceFileError}, tmp_path / "b.pt")
    with pytest.raises(SourceFileError, match="cannot read the map"):
        read_map(tmp_path / "b.pt")
    torch.save(3, tmp_path / "c.pt")
    with pytest.raises(SourceFileError, match="holds a int; save a tensor"):
        read_map(tmp_path / "c.pt")


def test_shape_and_extension(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((1, 2, 3, 4, 5)))
    with pytest.raises(ShapeError, match=r"has shape \(1, 2, 3, 4, 5\).*\(K, H, W\)"):
        read_map(tmp_path / "a.npy")
    with pytest.raises(SourceFileError, match=r"must end in \.npz, \.npy, \.pt, \.safetensors"):
        read_map(tmp_path / "a.bmp")


def test_map_files_are_lazy_and_can_be_read_again(tmp_path):
    for i, suffix in enumerate(ARRAY_FILES):
        save(tmp_path / f"{i}{suffix}", np.full((2, 1, 1), i / 8, dtype=np.float32))
    maps = map_files(tmp_path, ["3", "1", "0"])
    assert iter(maps) is not maps
    assert [float(m.max()) for m in maps] == [float(m.max()) for m in maps] == [3 / 8, 1 / 8, 0.0]
    (tmp_path / "1.npy").unlink()
    later = iter(maps)
    assert float(next(later).max()) == 3 / 8
    with pytest.raises(SourceFileError, match="cannot read the map"):
        next(later)
