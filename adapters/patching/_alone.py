"""One run of the patch at a time in a host's folder: each plans on what the one before has left."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from conformal_plugin.errors import SourceFileError

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows: nothing to lock a folder with
    fcntl = None

__all__ = ["alone_in"]

PATIENCE: Final = 30.0
"""Seconds to wait for another run, which takes a few at most."""


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other runs out of a host's folder; the lock ends with the process, however that ends.

    Raises:
        SourceFileError: another run is still at work after ``PATIENCE`` seconds.
    """
    if fcntl is None:
        yield
        return
    number = os.open(folder, os.O_RDONLY)
    try:
        _lock(number, folder)
        yield
    finally:
        os.close(number)


def _lock(number: int, folder: Path) -> None:
    end = time.monotonic() + PATIENCE
    while True:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() > end:
                raise SourceFileError(
                    f"another `conformal-plugin patch` is at work in {folder}; nothing was "
                    f"changed, run again when it is done"
                ) from None
            time.sleep(0.02)
        except OSError:  # a file server without locks
            return
