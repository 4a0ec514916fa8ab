"""Two processes at once, and ranks that never come or go away."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from conformal_plugin.adapters.patching import Change, _alone, _script_files, alone_in, write_all
from conformal_plugin.cli import _sharding
from conformal_plugin.cli._sharding import sharing
from conformal_plugin.errors import ConformalError, SourceFileError

POSIX = pytest.mark.skipif(_alone.fcntl is None, reason="needs locks on folders")


@POSIX
def test_a_second_run_waits_for_the_first(tmp_path: Path) -> None:
    order: list[str] = []

    def second() -> None:
        with alone_in(tmp_path):
            order.append("second")

    with alone_in(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.1)
        order.append("first")
    thread.join(timeout=30)
    assert order == ["first", "second"]
    assert not list(tmp_path.iterdir())


@POSIX
def test_a_second_run_does_not_wait_for_ever(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(_alone, "PATIENCE", 0.05)
    with (
        alone_in(tmp_path),
        pytest.raises(SourceFileError, match=r"another .*patch. is at work in"),
        alone_in(tmp_path),
    ):
        pass


def test_what_cannot_be_put_back_is_named(tmp_path: Path, monkeypatch) -> None:
    scripts = [tmp_path / f"{name}.py" for name in "abc"]
    for path in scripts:
        path.write_bytes(b"old\n")
    replace, calls = _script_files._replace, []

    def failing(path: Path, content: bytes, like: Path | None = None) -> None:
        calls.append(path)
        if len(calls) > 2:
            raise OSError(28, "No space left on device", str(path))
        replace(path, content, like)

    monkeypatch.setattr(_script_files, "_replace", failing)
    changes = [Change(path, b"old\n", b"new\n") for path in scripts]
    with pytest.raises(SourceFileError, match="could not be put back") as caught:
        write_all(changes, keep_backups=False)
    assert str(scripts[0]) in str(caught.value)
    assert str(scripts[1]) in str(caught.value)
    assert [path.read_bytes() for path in scripts] == [b"new\n", b"new\n", b"old\n"]


@pytest.fixture
def rank_of_two(monkeypatch):
    """The environment of rank 0 of 2, left over from another program."""
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)


def test_a_rank_that_waits_says_what_for(rank_of_two, monkeypatch, capsys) -> None:
    said = ""

    def waiting(*arguments: object, **options: object) -> None:
        nonlocal said
        until = time.monotonic() + 60
        while not said and time.monotonic() < until:
            time.sleep(0.05)
            said += capsys.readouterr().err
        raise ValueError("nobody came")

    monkeypatch.setattr(_sharding, "_SECONDS_BEFORE_A_WORD", 0.05)
    # Its name in torch.distributed is that of the function in it.
    meeting = importlib.import_module("torch.distributed.rendezvous")
    monkeypatch.setattr(meeting, "rendezvous", waiting)
    with pytest.raises(ConformalError, match="unset RANK and WORLD_SIZE"), sharing():
        pass
    assert "rank 0 of 2" in said


def test_without_a_place_to_meet_it_says_so_at_once(rank_of_two, monkeypatch) -> None:
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ConformalError, match="cannot meet.*unset RANK and WORLD_SIZE"), sharing():
        pass


def test_a_rank_whose_others_do_not_come_ends(rank_of_two, monkeypatch, free_port: int) -> None:
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", str(free_port))
    monkeypatch.setattr(_sharding, "_TO_MEET", timedelta(seconds=1))
    with (
        pytest.raises(ConformalError, match=r"rank 0 of 2.* the others did not come .*unset both"),
        sharing(),
    ):
        pass


def work(rank: int, port: int, results) -> None:
    """Rank 1 dies before the step in which rank 0 waits for it."""
    os.environ.update(
        RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port)
    )
    try:
        with sharing() as ranks:
            ranks.gather(rank)
            if rank == 1:
                os._exit(9)
            ranks.gather(rank)
    except ConformalError as error:
        results.put(str(error))


@pytest.mark.skipif(os.name != "posix", reason="ends a process without its goodbyes")
def test_the_survivor_of_a_rank_says_so(free_port: int) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    processes = [context.Process(target=work, args=(rank, free_port, results)) for rank in (0, 1)]
    for process in processes:
        process.start()
    assert "another rank has ended, so that rank 0 cannot go on" in results.get(timeout=120)
    for process in processes:
        process.join(timeout=60)


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_where_folders_cannot_be_locked_a_file_in_them_is(tmp_path: Path, monkeypatch) -> None:
    """As on Windows, whose module this one stands in for."""
    held: set[tuple[int, int]] = set()
    mine: dict[int, tuple[int, int]] = {}

    class Msvcrt:
        LK_NBLCK = 2

        @staticmethod
        def locking(number: int, how: int, length: int) -> None:
            status = os.fstat(number)
            file = (status.st_dev, status.st_ino)
            if file in held:
                raise PermissionError(13, "Permission denied")
            held.add(file)
            mine[number] = file

    close = os.close

    def closing(number: int) -> None:
        held.discard(mine.pop(number, (0, 0)))
        close(number)

    monkeypatch.setattr(_alone, "fcntl", None)
    monkeypatch.setattr(_alone, "msvcrt", Msvcrt, raising=False)
    monkeypatch.setattr(_alone, "PATIENCE", 0.05)
    monkeypatch.setattr(_alone.os, "close", closing)
    with alone_in(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".conformal-plugin.lock"]
        with pytest.raises(SourceFileError, match="is at work in"), alone_in(tmp_path):
            pass
    with alone_in(tmp_path):
        pass
