"""NumPy's files, read to their end: members against their checksum, nothing behind the values."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from conformal_plugin.files._memory import require_room

__all__ = ["ZIP_MAGIC", "read_numpy"]

ZIP_MAGIC: Final = b"PK"
_MEMBER: Final = ".npy"


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
            require_room(path.stat().st_size, path, max_bytes)
            return _whole(file)
        with zipfile.ZipFile(file) as archive:
            members = {
                name.removesuffix(_MEMBER): name
                for name in archive.namelist()
                if name.endswith(_MEMBER)
            }
            name = members[choose(members)]
            require_room(archive.getinfo(name).file_size, path, max_bytes)
            with archive.open(name) as member:
                return _whole(member)


def _whole(file: Any | BinaryIO) -> np.ndarray[Any, Any]:
    _require_sizes(file)
    array = np.lib.format.read_array(file, allow_pickle=False)
    if file.read(1):  # the read that reaches a member's end compares its checksum
        raise ValueError("there is more in it than its header says")
    return array


def _require_sizes(file: Any | BinaryIO) -> None:
    """Refuse a negative size, which NumPy before 1.25 takes for "as many as there are"."""
    headers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    version = np.lib.format.read_magic(file)
    if version in headers:
        shape, _, _ = headers[version](file)
        if any(size < 0 for size in shape):
            raise ValueError(f"its header gives it the shape {shape}")
    file.seek(0)
