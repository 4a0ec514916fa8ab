"""A label is read again unless its file is the one that was written, whatever the record says."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from conformal_plugin.cli import _appended_lines, _label_folder
from conformal_plugin.cli._done_record import RECORD, DoneLabel, DoneRecord, FileTimes
from conformal_plugin.files import read_label


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the finished labels that were read."""
    read, names = _label_folder.read_made_label, []

    def reading(path: Path):
        names.append(path.name)
        return read(path)

    monkeypatch.setattr(_label_folder, "read_made_label", reading)
    return names


@pytest.fixture
def filtered(data, run) -> Callable[..., dict]:
    """Filter the six maps; gives what was printed."""

    def filtering(*more: object) -> dict:
        out = data.root / "out"
        done = run("filter", "--maps", data.maps, "--qhat", 0.4, "--out", out, "--json", *more)
        assert done.code == 0, done.err
        content: dict = json.loads(done.out)
        return content

    filtering()
    return filtering


def shares(content: dict) -> tuple:
    return content["kept"], content["share_per_class"], content["images_without_label"]


def test_no_finished_label_is_read(data, filtered, reads) -> None:
    again = filtered()
    assert again["already_there"] == 6
    assert reads == []
    (data.root / "out" / RECORD).unlink()
    assert shares(filtered()) == shares(again)
    assert len(reads) == 6
    filtered()
    assert len(reads) == 6


def test_verifying_reads_them(filtered, reads) -> None:
    assert filtered("--verify")["already_there"] == 6
    assert len(reads) == 6


def flipped(content: bytearray) -> None:
    content[content.index(b"IDAT") + 8] ^= 4


def all_but(number: int) -> list[str]:
    """Of the other images, whose labels the remarks are of as much as of the new one."""
    return [f"im{other}.png" for other in range(6) if other != number]


def test_a_label_that_is_damaged_behind_its_time_is_made_again(data, filtered, reads) -> None:
    path = data.root / "out" / "im1.png"
    good, status, content = read_label(path), path.stat(), bytearray(path.read_bytes())
    flipped(content)
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert filtered()["written"] == 1
    assert reads == ["im1.png", *all_but(1)]
    np.testing.assert_array_equal(read_label(path), good)


@pytest.mark.skipif(os.name != "posix", reason="the time of a file's entry is told by POSIX alone")
def test_a_label_that_takes_the_place_of_another_is_read(data, filtered, reads) -> None:
    out = data.root / "out"
    status = (out / "im2.png").stat()
    other = bytearray((out / "im2.png").read_bytes())
    flipped(other)
    (data.root / "other.png").write_bytes(other)
    os.utime(data.root / "other.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    os.replace(data.root / "other.png", out / "im2.png")
    assert filtered()["written"] == 1
    assert reads == ["im2.png", *all_but(2)]


def test_a_copied_folder_is_read_once(data, filtered, reads) -> None:
    shutil.copytree(data.root / "out", data.root / "copy")
    shutil.rmtree(data.root / "out")
    shutil.copytree(data.root / "copy", data.root / "out")
    assert filtered()["already_there"] == 6
    assert sorted(set(reads)) == [f"im{number}.png" for number in range(6)]


def test_labels_of_other_settings_or_maps_are_not_taken(data, run, filtered) -> None:
    assert filtered("--overwrite")["written"] == 6
    os.utime(data.maps / "im3.npy", (1, 1))
    assert filtered()["written"] == 1
    out = data.root / "out"
    again = run(
        *("filter", "--maps", data.maps, "--qhat", 0.3, "--out", out, "--json", "--overwrite")
    )
    assert json.loads(again.out)["written"] == 6
    (out / "labels.json").unlink()  # nobody knows any more what the labels were made with
    assert run("filter", "--maps", data.maps, "--qhat", 0.4, "--out", out).code == 2
    assert filtered("--overwrite")["written"] == 6
    assert filtered()["written"] == 0


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\n\n0 \n", b'\n00000000 "im0"\t[]'])
def test_a_damaged_record_costs_reading(data, filtered, reads, damage: bytes) -> None:
    (data.root / "out" / RECORD).write_bytes(damage)
    assert filtered()["already_there"] == 6
    assert len(reads) == 6


def test_no_flipped_bit_gives_other_counts(tmp_path: Path) -> None:
    label = DoneLabel({0: 30, 255: 18}, 3, 77)
    path, times = tmp_path / RECORD, FileTimes(10, 20, 30)
    for name in ("a", "b/ü"):
        DoneRecord(tmp_path).add(name, times, "made of this", label)
    whole = path.read_bytes()
    for bit in range(8 * len(whole)):
        content = bytearray(whole)
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        record = DoneRecord(tmp_path)
        found = [record.find(name, times, "made of this") for name in ("a", "b/ü")]
        assert all(one in (None, label) for one in found)
        # Where the end of a line is lost, two lines become one.
        assert label in found or whole[bit // 8] == ord("\n")


def test_only_what_is_as_it_was_is_found(tmp_path: Path) -> None:
    label, times = DoneLabel({0: 30}, None, None), FileTimes(10, 20, 30)
    DoneRecord(tmp_path).add("a", times, "x", label)
    DoneRecord(tmp_path).add("gone", None, "x", label)
    record = DoneRecord(tmp_path)
    assert record.find("a", times, "x") == label
    assert record.find("a", times, "y") is None
    assert record.find("gone", times, "x") is None
    for other in (FileTimes(11, 20, 30), FileTimes(10, 21, 30), FileTimes(10, 20, 31)):
        assert record.find("a", other, "x") is None


def test_half_a_line_does_not_hide_the_next(tmp_path: Path) -> None:
    label, times = DoneLabel({0: 30}, 2, 5), FileTimes(10, 20, 30)
    DoneRecord(tmp_path).add("a", times, "x", label)
    (tmp_path / RECORD).write_bytes((tmp_path / RECORD).read_bytes()[:-9])
    DoneRecord(tmp_path).add("b", times, "x", label)
    record = DoneRecord(tmp_path)
    assert record.find("a", times, "x") is None
    assert record.find("b", times, "x") == label


def test_lines_of_labels_that_were_made_again_are_dropped(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(_appended_lines, "_STALE", 2)
    for number in range(9):
        DoneRecord(tmp_path).add("a", FileTimes(number, 0, 0), "x", DoneLabel({0: 1}, 2, 5))
    DoneRecord(tmp_path).tidy()
    assert len((tmp_path / RECORD).read_bytes().split()) == 3
    assert DoneRecord(tmp_path).find("a", FileTimes(8, 0, 0), "x") is not None


def test_a_record_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / RECORD).mkdir()
    with pytest.raises(OSError, match=RECORD):
        DoneRecord(tmp_path).add("a", FileTimes(1, 1, 1), "x", DoneLabel({0: 1}, 2, 5))
