"""A map file gives the scores that were written, as a copy, or a typed error; within a bound."""

from __future__ import annotations

import io
import lzma
import os
import struct
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from conformal_plugin.errors import ConformalError, SourceFileError
from conformal_plugin.files import _npy, map_files, read_map
from conformal_plugin.files._store_codec import encode

SCORES = np.ascontiguousarray(
    np.random.default_rng(0).dirichlet(np.ones(3), (6, 5)).transpose(2, 0, 1)
)
HALF = SCORES.astype(np.float16)


def npy(scores: np.ndarray) -> bytes:
    content = io.BytesIO()
    np.save(content, scores)
    return content.getvalue()


def npz(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return content.getvalue()


def test_a_shape_that_was_damaged_in_the_file_is_not_believed(tmp_path: Path) -> None:
    """One bit makes ``(3, 6, 5)`` ``(3, 6, 4)``: fewer values than there are."""
    narrower = npy(HALF).replace(b"(3, 6, 5)", b"(3, 6, 4)")
    (tmp_path / "a.npy").write_bytes(narrower)
    (tmp_path / "b.npz").write_bytes(npz({"probs.npy": narrower}))
    for name in ("a.npy", "b.npz"):
        with pytest.raises(SourceFileError, match="more in it than its header says"):
            read_map(tmp_path / name)


@pytest.mark.parametrize("suffix", [".npz", ".pt"])
def test_the_checksum_of_an_archive_is_compared(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".npz":
        np.savez(path, probs=HALF)
    else:
        torch.save({"probs": torch.from_numpy(HALF)}, path)
    content = bytearray(path.read_bytes())
    place = content.index(HALF.tobytes())
    content[place + 21] ^= 4
    path.write_bytes(content)
    with pytest.raises(SourceFileError, match=r"cannot read the map .*(CRC-32|checksum)"):
        read_map(path)


def test_scores_of_safetensors_are_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"probs": torch.from_numpy(SCORES)}, str(path))
    scores = read_map(path)
    with path.open("r+b") as file:
        file.seek(-8 * SCORES.size, os.SEEK_END)
        file.write(bytes(8 * SCORES.size))
    np.testing.assert_array_equal(np.asarray(scores), SCORES)
    os.truncate(path, 50)  # reading a view of it would end the process
    np.testing.assert_array_equal(np.asarray(scores), SCORES)


@pytest.mark.parametrize(
    ("tensor", "word"),
    [
        (torch.from_numpy(SCORES).to_sparse(), "sparse_coo"),
        (torch.empty(3, 4, 5, device="meta"), "meta"),
    ],
)
def test_a_tensor_without_plain_values_is_refused(tmp_path: Path, tensor, word: str) -> None:
    torch.save({"probs": tensor}, tmp_path / "a.pt")
    with pytest.raises(SourceFileError, match=word):
        read_map(tmp_path / "a.pt")


def test_a_nested_tensor_is_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="prototype"):
        nested = torch.nested.nested_tensor([torch.rand(2, 3), torch.rand(2, 3)])
    try:
        torch.save({"probs": nested}, tmp_path / "a.pt")
    except RuntimeError as error:
        pytest.skip(f"this torch writes no such file: {error}")
    with pytest.raises(SourceFileError, match=r"nested|cannot read the map"):
        read_map(tmp_path / "a.pt")


def test_a_view_with_a_sign_gives_its_values(tmp_path: Path) -> None:
    negative = torch.complex(torch.rand(3, 4, 5), -torch.rand(3, 4, 5)).conj().imag
    assert negative.is_neg()
    torch.save({"probs": negative}, tmp_path / "a.pt")
    np.testing.assert_array_equal(read_map(tmp_path / "a.pt").numpy(), negative.resolve_neg())


def broken_lzma() -> bytes:
    content = bytearray(npz({"probs.npy": npy(HALF)}, zipfile.ZIP_LZMA))
    place = content.index(lzma.compress(b"", lzma.FORMAT_ALONE)[:1], 60)
    content[place + 12 : place + 24] = bytes(12)
    return bytes(content)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("shape_of_truth.npy", npy(HALF).replace(b"(3, 6, 5)", b"(True, ) ")),
        ("header_of_words.npy", npy(HALF).replace(b"{'descr'", b"z'descr'")),
        ("header_of_brackets.npy", npy(HALF).replace(b"(3, 6, 5)", b"(((((((((")),
        ("huge.npy", npy(HALF).replace(b"(3, 6, 5)", b"(9**99,) ")),
        ("negative.npy", npy(HALF).replace(b"(3, 6, 5)", b"(-3,6, 5)")),
        ("text.npz", npz({"probs": b"no array"})),
        ("not_numpy.npz", npz({"probs.npy": b"no array"})),
        ("lzma.npz", broken_lzma()),
        ("cut_off.npy", npy(HALF)[:-1]),
        ("cut_off.npz", npz({"probs.npy": npy(HALF)[:-1]})),
        ("objects.npy", npy(np.array([None], object))),
        ("nothing.npy", npy(np.zeros((3, 6, 5), "V0"))),
        ("named.npy", npy(np.zeros((3, 6), [("é", "f4")]))),
        ("empty.npz", npz({})),
        ("empty.pt", npz({})),
        ("deep.safetensors", struct.pack("<Q", 100000) + b"[" * 100000),
        ("long.safetensors", struct.pack("<Q", 2**62)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",  # bytes hold the time of day
)
def test_hostile_files_are_refused_by_name(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConformalError) as caught:
        read_map(tmp_path / name)
    assert name in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_map_of_many_names_has_a_short_message(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **{f"{'x' * 500}{number}": HALF for number in range(30)})
    with pytest.raises(SourceFileError, match="no array 'probs'") as caught:
        read_map(tmp_path / "a.npz")
    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt", ".safetensors", ".cpmap"])
def test_a_map_beyond_the_bound_is_refused_before_it_is_decoded(tmp_path: Path, suffix) -> None:
    path = tmp_path / f"a{suffix}"
    zeros = np.zeros((4, 256, 256), np.float16)
    if suffix == ".npy":
        np.save(path, zeros)
    elif suffix == ".npz":
        np.savez_compressed(path, probs=zeros)
        assert path.stat().st_size < 2000  # a thousandth
    elif suffix == ".cpmap":
        path.write_bytes(encode(zeros))
    elif suffix == ".pt":  # a view of a single value
        torch.save({"probs": torch.zeros(1, 1, 1, dtype=torch.float16).expand(4, 256, 256)}, path)
        assert path.stat().st_size < 4000
    else:
        save_file({"probs": torch.from_numpy(zeros)}, str(path))
    with pytest.raises(SourceFileError, match=r"in memory.*raise max_bytes \(--max-map-bytes"):
        read_map(path, max_bytes=zeros.nbytes - 1)
    bound = zeros.nbytes + 4096  # a header's length
    assert float(read_map(path, max_bytes=bound).max()) == 0
    assert len(map_files(tmp_path, ["a"], max_bytes=bound)[0]) == 4


def test_a_lack_of_memory_is_said(tmp_path: Path, monkeypatch) -> None:
    def lacking(*arguments: object, **options: object) -> None:
        raise MemoryError

    np.save(tmp_path / "a.npy", HALF)
    monkeypatch.setattr(np.lib.format, "read_magic", lacking)
    with pytest.raises(SourceFileError, match="does not fit into this machine's memory"):
        read_map(tmp_path / "a.npy")


def test_one_thread_at_a_time_parses_a_header(tmp_path: Path, monkeypatch) -> None:
    """Python 3.11 raises SystemError now and then where two are in its parser."""
    inside, most = 0, 0
    parse = _npy._HEADERS[1, 0]

    def counting(file: object) -> object:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.02)
        try:
            return parse(file)
        finally:
            inside -= 1

    monkeypatch.setitem(_npy._HEADERS, (1, 0), counting)
    paths = [tmp_path / f"{number}.npz" for number in range(8)]
    for path in paths:
        np.savez(path, probs=HALF)
    with ThreadPoolExecutor(4) as pool:
        maps = list(pool.map(read_map, paths))
    assert len(maps) == 8
    assert most == 1


def test_an_interrupt_stays_one(tmp_path: Path, monkeypatch) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    np.save(tmp_path / "a.npy", HALF)
    monkeypatch.setattr(np.lib.format, "read_magic", interrupted)
    with pytest.raises(KeyboardInterrupt):
        read_map(tmp_path / "a.npy")


def changed_archive(path: Path, mark: bytes, behind: int, flip: int) -> None:
    """Flip bits of a byte so many behind the last place of a mark: in the archive's directory."""
    content = bytearray(path.read_bytes())
    content[content.rindex(mark) + behind] ^= flip
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("what", "behind", "flip"),
    [("marked as a folder", -8, 0x10), ("with another checksum", -30, 1)],
)
def test_scores_that_are_not_the_part_they_stand_for(tmp_path: Path, what, behind, flip) -> None:
    """No checksum covers the directory, and torch would give whatever is in its memory."""
    path = tmp_path / "a.pt"
    torch.save({"probs": torch.from_numpy(HALF)}, path)
    changed_archive(path, b"a/data/0", behind, flip)
    with pytest.raises(SourceFileError, match="checksum of its values does not fit"):
        read_map(path)


def test_a_part_that_is_shorter_than_its_tensor_is_not_read_beyond_its_end(tmp_path: Path) -> None:
    torch.save({"probs": torch.from_numpy(SCORES)}, tmp_path / "whole.pt")
    with (
        zipfile.ZipFile(tmp_path / "whole.pt") as whole,
        zipfile.ZipFile(tmp_path / "a.pt", "w") as cut,
    ):
        for part in whole.namelist():
            content = whole.read(part)
            cut.writestr(part, content[:16] if "/data/" in part else content)
    with pytest.raises(SourceFileError, match="cannot read the map"):
        read_map(tmp_path / "a.pt")


@pytest.mark.parametrize("part", [b"a/data.pkl", b"a/byteorder"])
def test_what_the_scores_mean_is_compared_too(tmp_path: Path, part: bytes) -> None:
    path = tmp_path / "a.pt"
    torch.save({"probs": torch.from_numpy(HALF)}, path)
    changed_archive(path, part, -30, 1)  # its checksum
    with pytest.raises(SourceFileError, match="CRC-32"):
        read_map(path)


@pytest.mark.parametrize("kind", [np.float16, np.float64, np.complex64])
def test_an_archive_of_the_other_byte_order(tmp_path: Path, kind: type) -> None:
    scores = SCORES.astype(kind)
    torch.save({"probs": torch.from_numpy(scores)}, tmp_path / "native.pt")
    other = {"little": "big", "big": "little"}[sys.byteorder]
    with (
        zipfile.ZipFile(tmp_path / "native.pt") as native,
        zipfile.ZipFile(tmp_path / "a.pt", "w") as turned,
    ):
        for part in native.namelist():
            content = native.read(part)
            if part.endswith("byteorder"):
                content = other.encode()
            elif "/data/" in part:
                content = scores.byteswap().tobytes()
            turned.writestr(part, content)
    np.testing.assert_array_equal(read_map(tmp_path / "a.pt").numpy(), scores)
    content = bytearray((tmp_path / "a.pt").read_bytes())
    content[content.index(scores.byteswap().tobytes()) + 5] ^= 2
    (tmp_path / "a.pt").write_bytes(content)
    with pytest.raises(SourceFileError, match="checksum of its values does not fit"):
        read_map(tmp_path / "a.pt")


def test_the_chosen_tensor_is_a_view_of_a_part_that_others_share(tmp_path: Path) -> None:
    whole = torch.from_numpy(SCORES)
    content = {"probs": whole[:, 1:4, ::2], "whole": whole, "others": torch.ones(3)}
    torch.save(content, tmp_path / "a.pt")
    for key, expected in (("probs", content["probs"]), ("whole", whole)):
        np.testing.assert_array_equal(read_map(tmp_path / "a.pt", key).numpy(), expected)


def test_filter_names_all_damaged_maps_and_does_the_others(data, run, tmp_path: Path) -> None:
    for name in ("im1", "im4"):
        (data.maps / f"{name}.npy").write_bytes(b"nonsense")
    arguments = ("filter", "--maps", data.maps, "--qhat", 0.4, "--out", tmp_path / "out")
    done = run(*arguments)
    assert done.code == 2
    assert "2 of 6 maps cannot be used" in done.err
    assert "im1: cannot read the map" in done.err
    assert "im4: cannot read the map" in done.err
    assert len(list((tmp_path / "out").glob("*.png"))) == 4
    (data.maps / "im1.npy").write_bytes((data.maps / "im0.npy").read_bytes())
    assert "image im4: cannot read the map" in run(*arguments).err


def test_filter_stops_where_every_map_is_damaged(data, run, tmp_path: Path) -> None:
    for number in range(120):
        (data.maps / f"bad{number}.npy").write_bytes(b"nonsense")
    done = run("filter", "--maps", data.maps, "--qhat", 0.4, "--out", tmp_path / "out")
    assert done.code == 2
    assert "100 of 126 maps cannot be used; as none could, the others" in done.err
    assert not list((tmp_path / "out").glob("*.png"))


def test_filter_names_more_than_a_message_holds_in_a_file(data, run, tmp_path: Path) -> None:
    for number in range(30):
        (data.maps / f"k{number:02}.npy").write_bytes(b"nonsense")
    not_a_number = np.load(data.maps / "im3.npy")
    not_a_number[0, 0, 0] = np.nan
    np.save(data.maps / "k30.npy", not_a_number)
    out = tmp_path / "out"
    arguments = ("filter", "--maps", data.maps, "--qhat", 0.4, "--out", out)
    for _ in range(2):  # the second finds the others done, and looks at damaged maps alone
        done = run(*arguments)
        assert done.code == 2
        assert "31 of 37 maps cannot be used" in done.err
        assert f"{out / 'unusable.tsv'} has all of them" in done.err
        assert done.err.count("\n  k") == 10
        assert len(list(out.glob("*.png"))) == 6
        lines = (out / "unusable.tsv").read_text().splitlines()
        assert [line.split("\t")[0] for line in lines] == [f"k{number:02}" for number in range(31)]
        assert "NaN" in lines[30]
    for path in data.maps.glob("k*"):
        path.unlink()
    assert run(*arguments).code == 0
    assert not (out / "unusable.tsv").exists()
