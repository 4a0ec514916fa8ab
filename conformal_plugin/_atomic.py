"""Writing files so that a reader, or a killed run, never meets half of one."""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final

from conformal_plugin._living import lives

fcntl: Any
try:
    import fcntl
except ImportError:  # Windows does not let anyone delete a file that is open
    fcntl = None

__all__ = ["atomic_open", "atomic_write_text", "sweep"]

_LONGEST_NAME: Final = 255
"""Bytes of a file's name on the usual disks."""
_TEMPORARY: Final = re.compile(r"\.(.*)\.([0-9a-f]{8})[0-9a-f]{24}\.tmp\Z", re.DOTALL)
"""What it will be called, and the process that writes it."""


@contextmanager
def atomic_open(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a temporary file beside ``path`` for binary writing; rename it to ``path`` on success.

    If the block raises, ``path`` is left as it was and the temporary file is removed. The folder
    of ``path`` is created when it is missing. Temporary names start with a dot and end in
    ``.tmp``, so that a leftover of a killed process is never mistaken for a result; a lock says
    that the process is alive, and on Windows, where a file is closed before it is renamed, its
    number does, which is part of the name.

    Raises:
        OSError: it cannot be written; names ``path``.
    """
    target = Path(path)
    temporary = target.with_name(_temporary_name(target.name))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _made(temporary) as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
            if fcntl is not None:  # while it is locked: another process may be clearing away
                os.replace(temporary, target)
        if fcntl is None:
            os.replace(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(temporary)):
            # A full disk names no file, and the temporary one means nothing to anybody.
            reason = error.strerror or str(error)
            raise OSError(error.errno or errno.EIO, reason, str(target)) from error
        raise


def atomic_write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write ``text`` to ``path`` as UTF-8, all of it or nothing."""
    with atomic_open(path) as handle:
        handle.write(text.encode("utf-8"))


def sweep(folders: Iterable[Path], ours: Callable[[str], object]) -> int:
    """Delete what killed processes left half written in these folders; gives the number.

    A temporary file that a living process writes stays. On Windows one of a process that lives on
    another machine can be met as it is renamed, and is then taken away.

    Args:
        folders: where to look, not below.
        ours: whether a file of this name, had it been finished, would be one of the caller's.
    """
    return sum(_swept(folder, ours) for folder in dict.fromkeys(folders))


def _temporary_name(name: str) -> str:
    """One that nobody else takes, and no longer than a name may be."""
    ending = f".{os.getpid():08x}{uuid.uuid4().hex[:24]}.tmp"
    room = _LONGEST_NAME - len(ending) - 1
    return f".{os.fsencode(name)[:room].decode(errors='ignore')}{ending}"


def _made(temporary: Path) -> BinaryIO:
    """A new file, locked as long as it is open."""
    while True:
        handle = temporary.open("xb")
        if fcntl is None:
            return handle
        with suppress(OSError):  # a file server without locks: its leftovers stay
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle.fileno()).st_nlink:
            return handle
        handle.close()  # another process swept it before it was locked


def _swept(folder: Path, ours: Callable[[str], object]) -> int:
    try:
        with os.scandir(folder) as entries:
            found = [
                (Path(entry.path), int(temporary[2], 16))
                for entry in entries
                if (temporary := _TEMPORARY.match(entry.name)) and ours(temporary[1])
            ]
    except OSError:  # not there yet
        return 0
    return sum(_removed(path, writer) for path, writer in found)


def _removed(path: Path, writer: int) -> bool:
    """Delete a temporary file unless its writer is alive."""
    try:
        if fcntl is None:
            if lives(writer):
                return False
            path.unlink()
        else:
            with path.open("rb") as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()  # while it is locked: its writer may be about to lock it
    except OSError:  # locked, on a file server without locks, not ours, or gone
        return False
    return True
