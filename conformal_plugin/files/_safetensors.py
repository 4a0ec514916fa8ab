"""Tensors of safetensors, read into memory of their own: what the file becomes changes none."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import torch
from torch import Tensor

from conformal_plugin._json import parsed
from conformal_plugin._messages import shown
from conformal_plugin.errors import SourceFileError
from conformal_plugin.files._memory import require_room

__all__ = ["read_safetensors"]

_DTYPES: Final[Mapping[str, torch.dtype]] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
_LENGTH_BYTES: Final = 8
_LONGEST_HEADER: Final = 100_000_000
"""In bytes, as the format has it."""
_MOST_AXES: Final = 64
"""As torch has it; the product of a million sizes would take for ever."""
_NOTES: Final = "__metadata__"


@dataclass(frozen=True)
class _Entry:
    """What the header says of a tensor.

    Attributes:
        dtype: by the format's name.
        shape: its sizes.
        begin: its first byte behind the header.
        end: the byte behind its last.
    """

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int

    @property
    def size(self) -> int:
        """In bytes."""
        return self.end - self.begin

    @classmethod
    def of(cls, name: str, said: Any) -> _Entry:
        """Of what JSON gave.

        Raises:
            ValueError: no such thing.
        """
        try:
            dtype, shape, offsets = said["dtype"], said["shape"], said["data_offsets"]
            begin, end = offsets
            sizes = (*shape, begin, end)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"its header does not describe {shown(name)}") from error
        if not all(type(size) is int and size >= 0 for size in sizes) or len(shape) > _MOST_AXES:
            raise ValueError(f"the sizes of {shown(name)} in its header are no sizes")
        return cls(str(dtype), tuple(shape), begin, end)


def read_safetensors(
    path: Path, choose: Callable[[Collection[str]], str], max_bytes: int
) -> Tensor:
    """The chosen tensor of a file; no other one's values are read.

    The library gives views of the file, which change and vanish with it, or copies it twice.

    Args:
        path: the file.
        choose: one of the names of the tensors.
        max_bytes: the largest tensor that is read.

    Raises:
        SourceFileError: too large, or of a kind that this torch has not.
        ValueError: the file is not what its header says.
    """
    with path.open("rb") as file:
        entries = _entries(file)
        name = choose(entries)
        entry = entries[name]
        if entry.dtype not in _DTYPES:
            raise SourceFileError(
                f"the map {path} holds {shown(entry.dtype)} in {shown(name)}; save one of "
                f"{', '.join(_DTYPES)}"
            )
        dtype = _DTYPES[entry.dtype]
        require_room(entry.size, path, max_bytes)
        file.seek(entry.begin, os.SEEK_CUR)
        content = np.empty(entry.size, np.uint8)  # NumPy asks for large pages, which come sooner
        if file.readinto(content.data) != entry.size:
            raise ValueError("it ends before its values do")
    if sys.byteorder == "big":
        content = content.reshape(-1, dtype.itemsize)[:, ::-1].copy().reshape(-1)
    return torch.from_numpy(content).view(dtype).reshape(entry.shape)


def _entries(file: BinaryIO) -> dict[str, _Entry]:
    """What the header says of each tensor; the file is then where the values begin.

    Raises:
        ValueError: it is no header, or the tensors do not lie one behind the other to the file's
            end.
    """
    length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
    values = os.fstat(file.fileno()).st_size - _LENGTH_BYTES - length
    if values < 0 or length > _LONGEST_HEADER:
        raise ValueError(f"its header of {length} bytes is longer than there can be")
    header = parsed(file.read(length).decode())
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    entries = {name: _Entry.of(name, said) for name, said in header.items() if name != _NOTES}
    place = 0
    for entry in sorted(entries.values(), key=lambda entry: (entry.begin, entry.end)):
        if entry.begin != place or entry.end < place:
            raise ValueError("its tensors do not lie one behind the other")
        dtype = _DTYPES.get(entry.dtype)
        if dtype is not None and entry.size != math.prod(entry.shape) * dtype.itemsize:
            raise ValueError(f"a shape in its header does not fit the {entry.size} bytes")
        place = entry.end
    if place != values:
        raise ValueError(f"its header tells of {place} bytes of values, and there are {values}")
    return entries
