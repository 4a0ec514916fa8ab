"""Maps in files that can be read part by part."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from conformal_plugin.errors import SourceFileError
from conformal_plugin.files._choosing import DEFAULT_KEY
from conformal_plugin.files._decoding import decoding
from conformal_plugin.files._hdf5 import HDF5_SUFFIXES, hdf5_dataset
from conformal_plugin.files._memory import require_room
from conformal_plugin.files._npy import read_header
from conformal_plugin.files._readers import reader_of
from conformal_plugin.files._tiff import TIFF_SUFFIXES, tiff_parts, tiff_shape
from conformal_plugin.scores import PART_BYTES, ScoreParts

__all__ = ["open_map"]

_REMEDY = "write it again as one plain array"


def open_map(path: str | os.PathLike[str], key: str | None = None) -> ScoreParts:
    """The class scores of a file that need not fit into memory, read part by part.

    Each reading opens the file anew. At most 64 MiB of it are in memory at once, or a row of the
    pieces that it is kept in (tiles of ``.tif``, chunks of ``.h5``) where that is more.

    Args:
        path: ``.npy``; ``.h5`` or ``.hdf5``; ``.tif`` or ``.tiff`` with one image whose bands lie
            together, as GDAL writes it.
        key: the array's name in an ``.h5`` of several.

    Returns:
        What takes the place of an array in :func:`conformal_plugin.filter` and its kin.

    Raises:
        SourceFileError: unreadable, of another kind, or laid out so that parts cannot be read.
        MissingExtraError: the package that reads the format is not installed.
    """
    path = Path(path)
    if reader_of(path) is None:
        with decoding(f"the map {path}", _REMEDY):
            if path.suffix == ".npy":
                return _NumpyMap(path)
            if path.name.endswith(HDF5_SUFFIXES):
                return _HDF5Map(path, key)
            if path.name.endswith(TIFF_SUFFIXES):
                return _TIFFMap(path)
    raise SourceFileError(
        f"{path} cannot be read in parts: .npy, .h5 and .tif can; read it whole with read_map, or "
        f"write it again as one of these"
    )


class _Parts(ScoreParts):
    """Checks that the parts of a file are those that it promised."""

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        if len(shape) not in (3, 4) or 0 in shape or dtype.kind not in "uif":
            raise SourceFileError(
                f"the map {path} holds {dtype} of shape {shape}, and numbers (K, H, W) or "
                f"(K, D, H, W) are read; write it again with the classes first"
            )
        self.path = path
        self.shape = shape
        self.dtype = dtype

    def parts(self) -> Iterator[np.ndarray[Any, Any]]:
        seen = 0
        source = self._read()
        while True:
            with decoding(f"the map {self.path}", _REMEDY):
                part = next(source, None)
            if part is None:
                break
            seen += part.shape[1]
            yield part
        if seen != self.shape[1]:
            raise SourceFileError(
                f"the map {self.path} has {seen} rows where {self.shape[1]} were promised; "
                f"did something write to it meanwhile?"
            )

    @abstractmethod
    def _read(self) -> Iterator[np.ndarray[Any, Any]]:
        """The parts as the file has them."""

    def _slices(self, whole: int = 1) -> Iterator[slice]:
        """Rows for each part, in multiples of ``whole``."""
        row = self.nbytes // self.shape[1]
        rows = max(whole, PART_BYTES // max(1, row) // whole * whole)
        return (slice(top, top + rows) for top in range(0, self.shape[1], rows))


class _NumpyMap(_Parts):
    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            shape, by_column, dtype = read_header(file)
            self._begin = file.tell()
        if by_column:
            raise SourceFileError(f"{path} is laid out column by column; {_REMEDY}, in C order")
        super().__init__(path, shape, dtype)
        require_room(path.stat().st_size, path, self._begin + self.nbytes)

    def _read(self) -> Iterator[np.ndarray[Any, Any]]:
        classes, rows = self.shape[:2]
        row = prod(self.shape[2:])
        with self.path.open("rb") as file:
            for some in self._slices():
                height = min(some.stop, rows) - some.start
                part = np.empty((classes, height, *self.shape[2:]), self.dtype)
                for c in range(classes):
                    file.seek(self._begin + (c * rows + some.start) * row * self.dtype.itemsize)
                    if file.readinto(part[c].reshape(-1).view(np.uint8).data) != part[c].nbytes:
                        raise ValueError("it is cut off")
                yield part


class _HDF5Map(_Parts):
    def __init__(self, path: Path, key: str | None) -> None:
        self._key = key
        with hdf5_dataset(path, key, DEFAULT_KEY) as dataset:
            super().__init__(path, tuple(map(int, dataset.shape)), dataset.dtype)
            self._chunk = int(dataset.chunks[1]) if dataset.chunks else 1
            # A chunk is unpacked whole, whatever is asked of it.
            require_room(prod(dataset.chunks or (1,)) * self.dtype.itemsize, path, PART_BYTES)

    def _read(self) -> Iterator[np.ndarray[Any, Any]]:
        with hdf5_dataset(self.path, self._key, DEFAULT_KEY) as dataset:
            for some in self._slices(self._chunk):
                yield np.asarray(dataset[:, some])


class _TIFFMap(_Parts):
    def __init__(self, path: Path) -> None:
        super().__init__(path, *tiff_shape(path))

    def _read(self) -> Iterator[np.ndarray[Any, Any]]:
        return tiff_parts(self.path)
