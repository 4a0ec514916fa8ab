"""One run of the patch at a time in a host's folder: each plans on what the one before has left."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from conformal_plugin.errors import SourceFileError

fcntl: Any
msvcrt: Any
try:
    import fcntl
except ImportError:  # Windows, which locks files and no folders
    fcntl = None
    import msvcrt

__all__ = ["alone_in"]

PATIENCE: Final = 30.0
"""Seconds to wait for another run, which takes a few at most."""
_LOCK: Final = ".conformal-plugin.lock"
"""The file that is locked on Windows, and stays: whoever deletes it may delete another's."""
_MAKING: Final = os.O_RDWR | os.O_CREAT


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other runs out of a host's folder; the lock ends with the process, however that ends.

    Raises:
        SourceFileError: another run is still at work after ``PATIENCE`` seconds.
    """
    number = os.open(folder, os.O_RDONLY) if fcntl else os.open(folder / _LOCK, _MAKING)
    try:
        _wait_for(_lock_folder if fcntl else _lock_file, number, folder)
        yield
    finally:
        os.close(number)


def _lock_folder(number: int) -> None:
    fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _lock_file(number: int) -> None:
    msvcrt.locking(number, msvcrt.LK_NBLCK, 1)


def _wait_for(lock: Callable[[int], None], number: int, folder: Path) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            lock(number)
            return
        except (BlockingIOError, PermissionError):  # the first of POSIX, the second of Windows
            if time.monotonic() > end:
                raise SourceFileError(
                    f"another `conformal-plugin patch` is at work in {folder}; nothing was "
                    f"changed, run again when it is done"
                ) from None
            time.sleep(0.02)
        except OSError:  # a file server without locks
            return
