"""What was read of a file, and which state of the file that was."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.errors import SourceFileError
from conformal_plugin.scores import ScoreParts

__all__ = ["FileState", "Taken", "checksum", "take", "unchanged"]

T = TypeVar("T")

_LINE_BYTES: Final = 8 * 1021


@dataclass(frozen=True)
class FileState:
    """What tells one state of a file from another without reading it.

    Attributes:
        size: in bytes.
        modified: when it was written, in nanoseconds.
    """

    size: int
    modified: int

    @classmethod
    def of(cls, path: Path) -> FileState:
        """The state that a file is in now.

        Raises:
            SourceFileError: there is no such file.
        """
        try:
            status = os.stat(path)  # not the path's own, which takes a third longer
        except OSError as error:
            raise SourceFileError(
                f"cannot read {path} ({error.strerror or error}); was it taken away?"
            ) from error
        return cls(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True)
class Taken(Generic[T]):
    """A value, and the states that the files it was read from were in.

    Attributes:
        value: what was read.
        states: one per file, from before the first was read; all were in it afterwards, too.
    """

    value: T
    states: tuple[FileState, ...]


def take(read: Callable[[], T], *paths: Path) -> Taken[T]:
    """Read something from files that nobody writes to meanwhile.

    A record of what was read must not name a file that came later: it would call the old result
    that of the new file, for ever.

    Args:
        read: gives the value.
        *paths: the files that it reads.

    Raises:
        SourceFileError: a file changed meanwhile; and what ``read`` raises.
    """
    with unchanged(*paths) as states:
        value = read()
    return Taken(value, states)


@contextmanager
def unchanged(*paths: Path) -> Iterator[tuple[FileState, ...]]:
    """While files are read: the states that they are in, for a record that is written meanwhile.

    Args:
        *paths: the files.

    Raises:
        SourceFileError: at the end, that a file changed meanwhile.
    """
    before = tuple(_now(path) for path in paths)
    yield tuple(state for state in before if state is not None)
    for path, state in zip(paths, before):
        if state is None or _now(path) != state:
            raise SourceFileError(
                f"{path} changed while it was read; run again when nothing writes to it any more"
            )


def checksum(values: np.ndarray[Any, Any] | Tensor | ScoreParts) -> int:
    """32 bits that tell the values of an array from others, for formats without a checksum.

    It tells damage from what was written, not one careful forger from another. That of a map that
    is read part by part is over its parts, one after the other.
    """
    if isinstance(values, ScoreParts):
        running = 0
        for part in values.parts():
            running = _of_bytes(part, running)
        return running
    if isinstance(values, Tensor):
        # bfloat16 is no dtype of NumPy's.
        values = values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
    return _of_bytes(values, 0)


def _of_bytes(values: np.ndarray[Any, Any], running: int) -> int:
    """CRC-32 of the sums of the columns in which the values are laid out.

    One of all bytes takes longer than calibrating on them does. A change in one place is in the sum
    of its column. Lines are as long as a prime number, so that planes, rows or pages of a file that
    are swapped do not lie below each other.
    """
    content = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    whole = content.size // _LINE_BYTES * _LINE_BYTES
    if whole:
        lines = content[:whole].view("<u8").reshape(-1, _LINE_BYTES // 8)
        running = zlib.crc32(lines.sum(axis=0).data, running)
    return zlib.crc32(content[whole:].data, running)


def _now(path: Path) -> FileState | None:
    try:
        return FileState.of(path)
    except SourceFileError:  # the reader says what is wrong, in its own words
        return None
