"""Arrays of HDF5 files: what lies in the file itself, behind filters that the library has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from conformal_plugin._extras import optional
from conformal_plugin.errors import SourceFileError
from conformal_plugin.files._choosing import chosen
from conformal_plugin.files._decoding import decoding
from conformal_plugin.files._memory import require_room

__all__ = ["HDF5_SUFFIXES", "hdf5_array", "hdf5_dataset", "hdf5_shape"]

HDF5_SUFFIXES = (".h5", ".hdf5")

_OWN_FILTERS: Final = 6  # deflate, shuffle, fletcher32, szip, nbit, scaleoffset
_LZF: Final = 32000  # of h5py itself
_REMEDY: Final = "write it again with h5py, one array under each name"


def hdf5_array(path: Path, key: str | None, default: str, max_bytes: int) -> np.ndarray[Any, Any]:
    """The array called ``key``, or ``default``, or the only one.

    Raises:
        SourceFileError: unreadable, without the array, or one that is not in the file itself.
        MissingExtraError: h5py is not installed.
    """
    with hdf5_dataset(path, key, default) as dataset:
        require_room(prod(dataset.shape) * dataset.dtype.itemsize, path, max_bytes)
        return np.asarray(dataset[()])


def hdf5_shape(path: Path, default: str) -> tuple[int, ...]:
    """The shape of an array, without reading it.

    Raises:
        SourceFileError, MissingExtraError: as :func:`hdf5_array`.
    """
    with hdf5_dataset(path, None, default) as dataset:
        return tuple(int(size) for size in dataset.shape)


@contextmanager
def hdf5_dataset(path: Path, key: str | None, default: str) -> Iterator[Any]:
    """The array, unread, as long as the block runs.

    Raises:
        SourceFileError, MissingExtraError: as :func:`hdf5_array`.
    """
    h5py = optional("h5py", "h5py", f"reading {path}", "h5")
    with decoding(f"the file {path}", _REMEDY), h5py.File(path, "r") as file:
        # Not a link to another file, which would be opened by asking what it leads to.
        names = [name for name in file if isinstance(file.get(name, getlink=True), h5py.HardLink)]
        names = [name for name in names if file.get(name, getclass=True) is h5py.Dataset]
        dataset = file[chosen(names, key, path, default)]
        _require_inside(dataset, path)
        yield dataset


def _require_inside(dataset: Any, path: Path) -> None:
    """Refuse values that are elsewhere, that a plug-in unpacks, or that are no numbers."""
    created = dataset.id.get_create_plist()
    filters = [created.get_filter(i)[0] for i in range(created.get_nfilters())]
    for odd, what in (
        (dataset.is_virtual or dataset.external, "keeps values in other files"),
        (any(n > _OWN_FILTERS and n != _LZF for n in filters), "is packed by a plug-in"),
        (dataset.dtype.kind not in "biuf" or dataset.shape is None, f"holds {dataset.dtype}"),
    ):
        if odd:
            raise SourceFileError(
                f"the array {dataset.name} of {path} {what}, and plain numbers in the file itself "
                f"are read; write it again with h5py's compression='gzip' or without"
            )
