"""The process of a host's script: started, alone in its folder, waited for, ended."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conformal_plugin.errors import OptionError

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows, where nothing keeps a second process out
    fcntl = None

__all__ = [
    "SECONDS_TO_END",
    "BusyError",
    "alone_in",
    "end_session",
    "ended",
    "interrupting",
    "send",
    "started",
]

SECONDS_TO_END = 10.0
"""For a process that was asked to end."""


class BusyError(Exception):
    """Another process is at work in a folder."""


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[dict[str, Any]]:
    """Keep others out of a folder, as long as this process lives or one that it has started there.

    A script goes on when the study that started it is killed; another beside it would go on from
    the same checkpoint.

    Yields:
        Options of :func:`started`, by which the lock is handed on.

    Raises:
        BusyError: another is in it.
    """
    if fcntl is None:
        yield {}
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(number)
        raise BusyError(f"another process is at work in {folder}") from None
    except OSError:  # a file server without locks
        pass
    try:
        yield {"pass_fds": (number,)}
    finally:
        os.close(number)


@contextlib.contextmanager
def interrupting() -> Iterator[None]:
    """Let a signal that asks a process to end do what Ctrl-C does, so that it ends its own first.

    Raises:
        KeyboardInterrupt: one came.
    """

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    heeded = [number for number in numbers if before[number] != signal.SIG_IGN]  # nohup ignores
    for number in heeded:
        signal.signal(number, interrupt)
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, before[number])


def started(command: list[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a host's script in a session of its own.

    Its checkpoints, which hold more than tensors, may be read again.

    Raises:
        OptionError: there is no such command.
    """
    environment = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1", **options.pop("env", os.environ)}
    try:
        return subprocess.Popen(command, env=environment, start_new_session=True, **options)
    except OSError as error:
        raise OptionError(
            f"--runner: cannot start {command[0]!r} ({error.strerror or error}); give a command "
            f"that this shell finds"
        ) from error


def send(process: subprocess.Popen[bytes], *, kill: bool = False) -> None:
    """Ask a process and all that it has started to end, or end them at once.

    Launchers such as torchrun end their workers when they are asked to; these may have sessions of
    their own, so that whoever is killed at once leaves them behind.
    """
    if not hasattr(os, "killpg"):
        (process.kill if kill else process.terminate)()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: of one that has ended
        os.killpg(process.pid, signal.SIGKILL if kill else signal.SIGTERM)


def end_session(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it has started, and wait for it."""
    send(process)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(SECONDS_TO_END)
        return
    send(process, kill=True)
    process.wait()


def ended(process: subprocess.Popen[bytes]) -> tuple[float | None] | None:
    """What a process took of the processors, None in it where that is not told; None at work."""
    if not hasattr(os, "wait4"):
        return None if process.poll() is None else (None,)
    pid, status, usage = os.wait4(process.pid, os.WNOHANG)
    if not pid:
        return None
    process.returncode = os.waitstatus_to_exitcode(status)
    return (round(usage.ru_utime + usage.ru_stime, 1),)
