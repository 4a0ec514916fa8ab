"""Streams that take no signs or are closed, disks that are full: a message and an exit code."""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from conformal_plugin import _atomic
from conformal_plugin._atomic import atomic_open, atomic_write_text, sweep
from conformal_plugin._living import lives
from conformal_plugin.cli import main
from conformal_plugin.errors import ConformalError


def started(data, *command: object, **options):
    """A command in a process of its own."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "OMP_NUM_THREADS": "1"}
    line = [
        sys.executable,
        "-c",
        "import sys; from conformal_plugin.cli import main\nsys.exit(main())",
    ]
    return subprocess.run(
        [*line, *map(str, command)],
        env=environment, check=False, timeout=600, stderr=subprocess.PIPE, **options,
    )  # fmt: skip


def choosing(data):
    return ["choose", "--maps", data.maps, "--labels", data.labels]


def test_signs_that_a_stream_has_not_are_written_in_another_way(data) -> None:
    done = started(data, *choosing(data), stdout=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    assert rb"\xb1 one standard error" in done.stdout


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_cannot_be_written_is_said(data) -> None:
    with Path("/dev/full").open("w") as full:
        done = started(data, *choosing(data), stdout=full)
    assert done.returncode == 2
    assert b"No space left on device" in done.stderr
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="closes descriptors before the start")
def test_a_closed_output_is_no_error(data) -> None:
    done = started(data, *choosing(data), preexec_fn=lambda: os.close(1))
    assert done.returncode == 0
    assert b"Traceback" not in done.stderr


def test_a_message_has_an_end(monkeypatch, capsys, tmp_path: Path) -> None:
    from conformal_plugin.cli import _filter_command

    def long(arguments: object) -> None:
        raise ConformalError("x" * 10**7)

    monkeypatch.setattr(_filter_command, "run", long)
    assert main(["filter", "--maps", "m", "--qhat", "0.5", "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert len(error) < 5000
    assert "10000000 characters" in error


def test_a_full_disk_names_the_file(tmp_path: Path, monkeypatch) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        atomic_write_text(tmp_path / "a.json", "text")
    assert caught.value.filename == str(tmp_path / "a.json")
    assert not list(tmp_path.iterdir())


def test_an_error_about_another_file_keeps_its_name(tmp_path: Path) -> None:
    with (
        pytest.raises(FileNotFoundError) as caught,
        atomic_open(tmp_path / "a.json"),
    ):
        (tmp_path / "other").read_bytes()
    assert caught.value.filename == str(tmp_path / "other")


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    for name in ("z" * 255, "é" * 127):
        atomic_write_text(tmp_path / name, "text")
        assert (tmp_path / name).read_text() == "text"
    with pytest.raises(OSError, match="name too long"):
        atomic_write_text(tmp_path / ("z" * 256), "text")


def half(folder: Path, name: str) -> Path:
    """What a killed process left."""
    (folder / name).write_bytes(b"half")
    return folder / name


def test_leftovers_of_the_dead_are_removed_and_work_of_the_living_is_not(tmp_path: Path) -> None:
    left = half(tmp_path, f".a.png.{'0' * 32}.tmp")
    assert sweep([tmp_path], "b.png".__eq__) == 0
    others = [half(tmp_path, name) for name in (".a.tmp", "a.png", f"a.{'0' * 32}.tmp")]
    with atomic_open(tmp_path / "c.png") as living:
        living.write(b"whole")
        assert sweep([tmp_path, tmp_path, tmp_path / "not there"], bool) == 1
    assert not left.exists()
    assert all(path.exists() for path in others)
    assert (tmp_path / "c.png").read_bytes() == b"whole"


def test_a_file_is_not_swept_as_it_gets_its_name(tmp_path: Path, monkeypatch) -> None:
    """Three ranks of which one cleared away lost a file so, one time in ten."""
    real = os.replace

    def late(temporary: Path, target: Path) -> None:
        assert sweep([tmp_path], bool) == 0
        real(temporary, target)

    monkeypatch.setattr(_atomic.os, "replace", late)
    atomic_write_text(tmp_path / "a.json", "text")
    assert (tmp_path / "a.json").read_text() == "text"


def test_without_locks_it_is_the_number_of_the_writer_that_tells(
    tmp_path: Path, monkeypatch
) -> None:
    """A stand-in for Windows, where a file is renamed after it is closed."""
    real, swept = os.replace, []

    def late(temporary: Path, target: Path) -> None:
        swept.append(sweep([tmp_path], bool))
        real(temporary, target)

    monkeypatch.setattr(_atomic, "fcntl", None)
    monkeypatch.setattr(_atomic, "lives", os.getpid().__eq__)
    monkeypatch.setattr(_atomic.os, "replace", late)
    left = half(tmp_path, f".b.png.{os.getpid() + 1:08x}{'0' * 24}.tmp")
    atomic_write_text(tmp_path / "a.json", "text")
    assert (tmp_path / "a.json").read_text() == "text"
    assert swept == [1]
    assert not left.exists()


@pytest.mark.parametrize(
    ("handle", "error", "waited", "alive"),
    [(7, 0, 258, True), (7, 0, 0, False), (None, 5, 0, True), (None, 87, 0, False)],
)
def test_what_windows_says_of_a_process(monkeypatch, handle, error, waited, alive) -> None:
    """By a stand-in for its calls, as they are documented; never tried on Windows."""
    asked: list[tuple[str, int]] = []

    def opened(access: ctypes.c_ulong, inherit: bool, pid: ctypes.c_ulong) -> int | None:
        asked.append(("open", pid.value))
        return handle

    kernel = SimpleNamespace(
        OpenProcess=opened,
        WaitForSingleObject=lambda found, milliseconds: waited,
        CloseHandle=lambda found: asked.append(("close", found.value)),
    )
    monkeypatch.setattr(ctypes, "WinDLL", lambda name, use_last_error: kernel, raising=False)
    monkeypatch.setattr(ctypes, "get_last_error", lambda: error, raising=False)
    assert lives(2**32 - 1) is alive
    assert asked == [("open", 2**32 - 1), *([("close", handle)] if handle else [])]


def test_what_is_swept_is_locked_until_it_is_gone(tmp_path: Path, monkeypatch) -> None:
    fcntl = pytest.importorskip("fcntl")
    left, real = half(tmp_path, f".a.png.{'0' * 32}.tmp"), Path.unlink

    def watched(path: Path, *, missing_ok: bool = False) -> None:
        with path.open("rb") as handle, pytest.raises(BlockingIOError):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        real(path, missing_ok=missing_ok)

    monkeypatch.setattr(Path, "unlink", watched)
    assert sweep([tmp_path], bool) == 1
    monkeypatch.undo()
    assert not left.exists()


def test_a_file_that_is_swept_before_it_is_locked_is_made_anew(tmp_path: Path, monkeypatch) -> None:
    pytest.importorskip("fcntl")
    real, calls = _atomic.fcntl.flock, []

    def late(handle: object, how: int) -> None:
        calls.append(how)
        if len(calls) == 1:
            for path in tmp_path.iterdir():
                path.unlink()
        real(handle, how)

    monkeypatch.setattr(_atomic.fcntl, "flock", late)
    atomic_write_text(tmp_path / "a.json", "text")
    assert (tmp_path / "a.json").read_text() == "text"
    assert len(calls) == 2


def test_the_next_run_removes_what_a_killed_one_left(data, run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "deep").mkdir(parents=True)
    (data.maps / "deep").mkdir()
    np.save(data.maps / "deep" / "a.npy", np.full((3, 8, 6), 0.3, np.float16))
    left = [
        half(out, f".im0.png.{'a' * 32}.tmp"),
        half(out / "deep", f".a.png.{'b' * 32}.tmp"),
        half(data.root, f".c.json.{'c' * 32}.tmp"),
    ]
    assert run("filter", "--maps", data.maps, "--qhat", 0.4, "--out", out).code == 0
    done = run(
        *("calibrate", "--maps", data.maps, "--labels", data.labels, "--ids", data.list),
        *("--alpha", 0.4, "-o", data.root / "c.json"),
    )
    assert done.code == 0, done.err
    assert not [path for path in left if path.exists()]
