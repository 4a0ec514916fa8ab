"""NumPy's files, read to their end: members against their checksum, nothing behind the values."""

from __future__ import annotations

import math
import threading
import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

from conformal_plugin.files._memory import require_room

__all__ = ["ZIP_MAGIC", "read_header", "read_numpy"]

ZIP_MAGIC: Final = b"PK"
_MEMBER: Final = ".npy"
_PIECE: Final = 2**20
_PARSING: Final = threading.Lock()
_HEADERS: Final[dict[tuple[int, int], Callable[[Any], Any]]] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def read_numpy(
    path: Path, choose: Callable[[Collection[str]], str], max_bytes: int
) -> np.ndarray[Any, Any]:
    """The array of an ``.npy``, or the chosen one of an ``.npz``; nothing is unpickled.

    ``numpy.load`` stops where the values end by the header. What is behind is then not seen, and
    a member's CRC-32 not compared: a flipped digit of the shape would give a narrower map.

    Args:
        path: the file; its first bytes tell what it is, not its name.
        choose: one of the names of the arrays.
        max_bytes: the largest array that is read.
    """
    with path.open("rb") as file:
        packed = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
        file.seek(0)
        if not packed:
            size = path.stat().st_size
            require_room(size, path, max_bytes)
            return _whole(file, size)
        with zipfile.ZipFile(file) as archive:
            members = {
                name.removesuffix(_MEMBER): name
                for name in archive.namelist()
                if name.endswith(_MEMBER)
            }
            name = members[choose(members)]
            size = archive.getinfo(name).file_size
            require_room(size, path, max_bytes)
            with archive.open(name) as member:
                return _whole(member, size)


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it is laid out column by column, and dtype, by the first bytes of a file.

    One thread at a time: NumPy takes Python's own parser for it, and that of 3.11 fails now and
    then when several threads are in it ("AST constructor recursion depth mismatch").

    Raises:
        ValueError: it is no such header, or one of a version that only named fields need.
    """
    version = np.lib.format.read_magic(file)
    if version not in _HEADERS:
        raise ValueError(f"version {version} of NumPy's format is for arrays with named fields")
    with _PARSING:
        shape, by_column, dtype = _HEADERS[version](file)
    if any(size < 0 for size in shape):  # before 1.25 NumPy takes it for as many as there are
        raise ValueError(f"its header gives it the shape {shape}")
    return shape, by_column, dtype


def _whole(file: IO[bytes], size: int) -> np.ndarray[Any, Any]:
    """The array of a file of so many bytes."""
    shape, by_column, dtype = read_header(file)
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError(f"it holds {dtype}, and numbers are read")
    count = math.prod(shape)
    said, there = count * dtype.itemsize, size - file.tell()
    if said > there:
        raise ValueError(f"its header says {said} bytes, and it is cut off after {there}")
    array = np.empty(count, dtype)
    left = array.view(np.uint8).data
    while len(left):
        piece = file.read(min(_PIECE, len(left)))
        if not piece:
            raise ValueError(f"it is cut off, {len(left)} bytes before its end")
        left[: len(piece)] = piece
        left = left[len(piece) :]
    if file.read(1):  # the read that reaches a member's end compares its checksum
        raise ValueError("there is more in it than its header says")
    return array.reshape(shape[::-1]).transpose() if by_column else array.reshape(shape)
