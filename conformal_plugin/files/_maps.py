"""Reading class-score maps, one file per image or volume, of every kind that is known."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from torch import Tensor

from conformal_plugin.errors import ShapeError, SourceFileError
from conformal_plugin.files._choosing import DEFAULT_KEY, chosen
from conformal_plugin.files._decoding import decoding
from conformal_plugin.files._hdf5 import HDF5_SUFFIXES, hdf5_array
from conformal_plugin.files._memory import LARGEST_MAP_BYTES
from conformal_plugin.files._nifti import NIFTI_SUFFIXES, nifti_array
from conformal_plugin.files._npy import read_numpy
from conformal_plugin.files._readers import reader_of, suffix_of, suffixes
from conformal_plugin.files._safetensors import read_safetensors
from conformal_plugin.files._store_codec import decode
from conformal_plugin.files._tiff import TIFF_SUFFIXES, tiff_bands
from conformal_plugin.files._torch_files import read_torch

__all__ = ["MAP_SUFFIXES", "FoundMap", "ScoreMap", "read_any_map", "read_map"]

ScoreMap: TypeAlias = "np.ndarray[Any, Any] | Tensor"
"""Class scores ``(K, H, W)``, or ``(K, D, H, W)`` of a volume."""


@dataclass(frozen=True)
class FoundMap:
    """A map, and whose it is.

    Attributes:
        scores: ``(K, H, W)`` or ``(K, D, H, W)``.
        annotator: the digest of the annotator that a store's map carries; None for other files.
    """

    scores: ScoreMap
    annotator: bytes | None = None


def read_map(
    path: str | os.PathLike[str], key: str | None = None, *, max_bytes: int = LARGEST_MAP_BYTES
) -> ScoreMap:
    """Read class scores ``(K, H, W)``, or ``(K, D, H, W)`` of a volume.

    Nothing in the file is executed.

    What comes back is a copy: nothing that happens to the file later changes it. Checksums are
    compared where a format has them (``.npz``, ``.pt``, ``.cpmap``, ``.nii.gz``).

    Args:
        path: ``.cpmap`` of a :class:`conformal_plugin.files.MapStore`, ``.npz`` or ``.npy`` (these
            give a NumPy array), ``.pt`` with a tensor or a dict of tensors, or ``.safetensors``
            (both give a tensor on the CPU); ``.h5`` and ``.hdf5``; ``.nii`` and ``.nii.gz`` of four
            axes, which are reversed; ``.tif`` and ``.tiff``, a band for each class; or what
            :func:`conformal_plugin.files.register_reader` was told of.
        key: the array's name in a file of several; by default ``"probs"``, or the only one.
        max_bytes: the largest map that is read, in bytes of its scores.

    Returns:
        The scores as stored; dtype and values are checked where they are used.

    Raises:
        SourceFileError: unreadable, damaged, too large, of another kind, or without the key.
        ShapeError: neither three-dimensional nor four-dimensional.
        MissingExtraError: the package that reads the format is not installed.
    """
    return read_any_map(Path(path), key, max_bytes).scores


def read_any_map(path: Path, key: str | None, max_bytes: int) -> FoundMap:
    """As :func:`read_map`, with whose map it is."""
    suffix = suffix_of(path, MAP_SUFFIXES)
    if suffix is None:
        raise SourceFileError(
            f"{path} is no map file: its name must end in {', '.join(suffixes(MAP_SUFFIXES))}; "
            f"any other format is read by a reader of yours (--reader on the command line)"
        )
    with decoding(f"the map {path}", "write it again as plain arrays without pickled objects"):
        read = reader_of(path)
        found = FoundMap(read(path, "map")) if read else _READERS[suffix](path, key, max_bytes)
    if not isinstance(found.scores, (np.ndarray, Tensor)):
        raise SourceFileError(
            f"the reader of {path} gave a {type(found.scores).__name__} for a map; it must return "
            f"a NumPy array or a torch tensor"
        )
    if found.scores.ndim not in (3, 4):
        raise ShapeError(
            f"the map {path} has shape {tuple(found.scores.shape)}; a map file holds the class "
            f"scores of one image, (K, H, W) with the classes first, or of one volume, "
            f"(K, D, H, W); of a foreground probability (H, W) make two with "
            f"conformal_plugin.from_foreground"
        )
    return found


def _read_store(path: Path, key: str | None, max_bytes: int) -> FoundMap:
    scores, header = decode(path.read_bytes(), str(path), max_bytes=max_bytes)
    return FoundMap(scores, header.digest)


def _read_numpy(path: Path, key: str | None, max_bytes: int) -> FoundMap:
    return FoundMap(read_numpy(path, partial(chosen, key=key, path=path), max_bytes))


def _read_torch(path: Path, key: str | None, max_bytes: int) -> FoundMap:
    return FoundMap(read_torch(path, partial(chosen, key=key, path=path), max_bytes))


def _read_safetensors(path: Path, key: str | None, max_bytes: int) -> FoundMap:
    return FoundMap(read_safetensors(path, partial(chosen, key=key, path=path), max_bytes))


def _read_hdf5(path: Path, key: str | None, max_bytes: int) -> FoundMap:
    return FoundMap(hdf5_array(path, key, DEFAULT_KEY, max_bytes))


def _read_nifti(path: Path, key: str | None, max_bytes: int) -> FoundMap:
    return FoundMap(nifti_array(path, max_bytes))


def _read_tiff(path: Path, key: str | None, max_bytes: int) -> FoundMap:
    return FoundMap(tiff_bands(path, max_bytes))


_READERS: dict[str, Callable[[Path, str | None, int], FoundMap]] = {
    ".npz": _read_numpy,
    ".npy": _read_numpy,
    ".pt": _read_torch,
    ".safetensors": _read_safetensors,
    ".cpmap": _read_store,
    **dict.fromkeys(HDF5_SUFFIXES, _read_hdf5),
    **dict.fromkeys(NIFTI_SUFFIXES, _read_nifti),
    **dict.fromkeys(TIFF_SUFFIXES, _read_tiff),
}
MAP_SUFFIXES = tuple(_READERS)
"""How the names of score maps end."""
