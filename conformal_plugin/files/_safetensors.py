"""A tensor of a ``.safetensors`` in memory of its own: what the file becomes does not change it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Collection
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from conformal_plugin._extras import optional
from conformal_plugin._json import parsed
from conformal_plugin.files._memory import require_room

__all__ = ["read_safetensors"]

_LENGTH_BYTES = 8


def read_safetensors(
    path: Path, choose: Callable[[Collection[str]], str], max_bytes: int
) -> Tensor:
    """The chosen tensor of a file; no other one's values are read.

    The library checks the header and knows dtypes and shapes. Its tensors are views of the file,
    which change and vanish with it, or copies of a copy; the values are read here, once.

    Args:
        path: the file.
        choose: one of the names of the tensors.
        max_bytes: the largest tensor that is read.

    Raises:
        MissingExtraError: safetensors is not installed.
        SourceFileError: too large.
        ValueError: the file is not what its header says. The library raises its own for that, too.
    """
    library = optional("safetensors", "safetensors", f"reading {path}")
    with library.safe_open(os.fspath(path), framework="pt") as opened:
        name = choose(opened.keys())
        view = opened.get_tensor(name)  # none of its values is looked at
        dtype, shape, size = view.dtype, view.shape, view.nbytes
        del view
    require_room(size, path, max_bytes)
    content = np.empty(size, np.uint8)  # NumPy asks for large pages, which come sooner
    with path.open("rb") as file:
        header = parsed(file.read(int.from_bytes(file.read(_LENGTH_BYTES), "little")).decode())
        begin, end = header[name]["data_offsets"]
        file.seek(begin, os.SEEK_CUR)
        if end - begin != size or file.readinto(content.data) != size:
            raise ValueError("it ends before its values do, or was replaced while it was read")
    if sys.byteorder == "big":
        content = content.reshape(-1, dtype.itemsize)[:, ::-1].copy().reshape(-1)
    return torch.from_numpy(content).view(dtype).reshape(shape)
