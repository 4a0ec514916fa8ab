"""torch's files: what torch has read, against the checksums of the parts, which it passes over."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.errors import SourceFileError
from conformal_plugin.files._memory import require_room
from conformal_plugin.files._npy import ZIP_MAGIC

__all__ = ["read_torch"]

_VALUES: Final = "data"
"""The folder of an archive in which each storage is a part; what it means is in other parts."""
_AT_ONCE: Final = 2**20


def read_torch(path: Path, choose: Callable[[Collection[str]], str], max_bytes: int) -> Tensor:
    """The tensor in a file of torch, or the chosen one of a dict; nothing is executed.

    Args:
        path: the file; its first bytes tell what it is. Before torch 1.6 it was no archive and had
            no checksums.
        choose: one of the names of the tensors.
        max_bytes: the largest tensor that is read.

    Raises:
        SourceFileError: no tensor, one without plain values, or too large; and whatever the
            decoders raise.
    """
    sums = _sums_of_values(path, max_bytes)
    content = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(content, Mapping):
        tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
        content = tensors[choose(tensors)]
    if not isinstance(content, Tensor):
        raise SourceFileError(
            f"the map {path} holds a {type(content).__name__}; save a tensor or a dict of tensors"
        )
    _require_values(content, path)
    if sums is not None:
        _compare(content, sums)
    # A view can repeat one stored value without end.
    require_room(math.prod(content.shape) * content.element_size(), path, max_bytes)
    return content.detach().resolve_conj().resolve_neg()


def _sums_of_values(path: Path, max_bytes: int) -> Collection[tuple[int, int]] | None:
    """Length and CRC-32 of each storage in an archive; its other parts are compared here.

    Nothing where the file is none.
    """
    with path.open("rb") as file:
        packed = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    if not packed:
        return None
    sums = set()
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        require_room(max((part.file_size for part in parts), default=0), path, max_bytes)
        for part in parts:
            if part.filename.split("/")[-2:-1] == [_VALUES]:
                sums.add((part.file_size, part.CRC))
            else:
                with archive.open(part) as member:
                    while member.read(_AT_ONCE):  # the last one compares
                        pass
    return sums


def _compare(tensor: Tensor, sums: Collection[tuple[int, int]]) -> None:
    """Require that a tensor's memory is what one of the parts was when it was written.

    What is compared is what torch has read: the file is not read a second time, and what torch
    leaves as it was, or takes from another place, is not taken for values.

    Raises:
        ValueError: it is not.
    """
    storage = tensor.untyped_storage()
    # First the length: where it is another one, not all of the memory is the storage's.
    if storage.nbytes() in {length for length, _ in sums}:
        content = torch.empty(0, dtype=torch.uint8).set_(storage).numpy()
        width = tensor.element_size() // (2 if tensor.is_complex() else 1)
        if _is_one(content, sums) or _is_one(_turned(content, width), sums):
            return
    raise ValueError("the checksum of its values does not fit: it is damaged")


def _is_one(content: np.ndarray[Any, Any], sums: Collection[tuple[int, int]]) -> bool:
    return (content.size, zlib.crc32(content.data)) in sums


def _turned(content: np.ndarray[Any, Any], width: int) -> np.ndarray[Any, Any]:
    """As a machine of the other byte order has written it."""
    return np.ascontiguousarray(content.reshape(-1, width)[:, ::-1])


def _require_values(tensor: Tensor, path: Path) -> None:
    kind = str(tensor.layout).removeprefix("torch.")
    for odd, name in (
        (tensor.is_nested, "nested"),
        (tensor.layout != torch.strided, kind),
        (tensor.device.type != "cpu", f"{tensor.device.type} (without values)"),
    ):
        if odd:
            raise SourceFileError(
                f"the map {path} holds a tensor that is {name}; save a dense one, with "
                f"scores.cpu().to_dense() for instance"
            )
