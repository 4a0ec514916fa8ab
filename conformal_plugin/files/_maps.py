"""Reading class-score maps, one file per image: .npz, .npy, .pt, .safetensors, .cpmap."""

from __future__ import annotations

import os
import pickle
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from conformal_plugin._extras import optional
from conformal_plugin.errors import ConformalError, ShapeError, SourceFileError
from conformal_plugin.files._ids import find_files
from conformal_plugin.files._lazy import LazySequence
from conformal_plugin.files._store_codec import decode

__all__ = ["DEFAULT_KEY", "MAP_SUFFIXES", "ScoreMap", "map_files", "read_map"]

DEFAULT_KEY = "probs"
"""The array that is read of a map file that holds several, where no other is named."""

ScoreMap: TypeAlias = "np.ndarray[Any, Any] | Tensor"
"""Class scores ``(K, H, W)``."""


def map_files(
    folder: str | os.PathLike[str], ids: Sequence[str], *, key: str | None = None
) -> LazySequence[ScoreMap]:
    """The maps of ``ids`` in ``folder``, each read when it is asked for.

    Raises:
        SourceFileError: at once, for ids without a map or with two; later, as :func:`read_map`.
    """

    def read(path: Path) -> ScoreMap:
        return read_map(path, key)

    return LazySequence(read, find_files(folder, ids, MAP_SUFFIXES, "map"))


def read_map(path: str | os.PathLike[str], key: str | None = None) -> ScoreMap:
    """Read class scores ``(K, H, W)``; nothing in the file is executed.

    Args:
        path: ``.cpmap`` of a :class:`conformal_plugin.files.MapStore`, ``.npz`` or ``.npy`` (these
            give a NumPy array), ``.pt`` with a tensor or a dict of tensors, or ``.safetensors``
            (both give a tensor on the CPU).
        key: the array's name in a file of several; by default ``"probs"``, or the only one.

    Returns:
        The scores as stored; dtype and values are checked where they are used.

    Raises:
        SourceFileError: unreadable, of another kind, or without the key.
        ShapeError: not three-dimensional.
        MissingExtraError: ``.safetensors`` without that package.
    """
    path = Path(path)
    if path.suffix not in _READERS:
        raise SourceFileError(
            f"{path} is no map file: its name must end in {', '.join(MAP_SUFFIXES)}"
        )
    try:
        scores = _READERS[path.suffix](path, key)
    except ConformalError:
        raise
    except _UNREADABLE as error:
        raise SourceFileError(
            f"cannot read the map {path} ({type(error).__name__}: {error}); write it again as "
            f"plain arrays without pickled objects"
        ) from error
    if scores.ndim != 3:
        raise ShapeError(
            f"the map {path} has shape {tuple(scores.shape)}; a map file holds the class scores of "
            f"one image, (K, H, W) with the classes first"
        )
    return scores


def _read_store(path: Path, key: str | None) -> ScoreMap:
    return decode(path.read_bytes(), str(path))[0]


def _read_numpy(path: Path, key: str | None) -> ScoreMap:
    with path.open("rb") as file:
        content = np.load(file, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        scores: np.ndarray[Any, Any] = content[_chosen(content.files, key, path)]
    return scores


def _read_torch(path: Path, key: str | None) -> ScoreMap:
    content = torch.load(path, map_location="cpu", weights_only=True)
    if isinstance(content, Mapping):
        tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
        content = tensors[_chosen(tensors, key, path)]
    if not isinstance(content, Tensor):
        raise SourceFileError(
            f"the map {path} holds a {type(content).__name__}; save a tensor or a dict of tensors"
        )
    return content.detach()


def _read_safetensors(path: Path, key: str | None) -> ScoreMap:
    safetensors = optional("safetensors", "safetensors", f"reading {path}")
    try:
        with safetensors.safe_open(str(path), framework="pt") as content:
            scores: Tensor = content.get_tensor(_chosen(list(content.keys()), key, path))
    except safetensors.SafetensorError as error:
        raise SourceFileError(f"cannot read the map {path} ({error}); write it again") from error
    return scores


_READERS: dict[str, Callable[[Path, str | None], ScoreMap]] = {
    ".npz": _read_numpy,
    ".npy": _read_numpy,
    ".pt": _read_torch,
    ".safetensors": _read_safetensors,
    ".cpmap": _read_store,
}
MAP_SUFFIXES = tuple(_READERS)
"""How the names of score maps end."""

_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    RuntimeError,
    KeyError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
)


def _chosen(names: Collection[str], key: str | None, path: Path) -> str:
    if key is None and len(names) == 1:
        return next(iter(names))
    wanted = DEFAULT_KEY if key is None else key
    if wanted in names:
        return wanted
    held = ", ".join(repr(name) for name in names) or "none"
    raise SourceFileError(
        f"the map {path} has no array {wanted!r}; it holds {held}: name the right one with key "
        f"(--key on the command line)"
    )
