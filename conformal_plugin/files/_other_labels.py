"""Labels that are no PNG: arrays of HDF5, NIfTI, TIFF and NumPy files, and of readers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from conformal_plugin._atomic import atomic_open
from conformal_plugin.errors import ShapeError, SourceFileError
from conformal_plugin.files._choosing import chosen
from conformal_plugin.files._decoding import decoding
from conformal_plugin.files._hdf5 import HDF5_SUFFIXES, hdf5_array, hdf5_shape
from conformal_plugin.files._images import image_size
from conformal_plugin.files._memory import LARGEST_MAP_BYTES
from conformal_plugin.files._nifti import (
    NIFTI_SUFFIXES,
    nifti_array,
    nifti_notes,
    nifti_shape,
    write_nifti,
)
from conformal_plugin.files._npy import read_numpy
from conformal_plugin.files._readers import reader_of
from conformal_plugin.files._tiff import TIFF_SUFFIXES, tiff_bands, tiff_size

__all__ = [
    "VOLUME_SUFFIX",
    "label_size",
    "nifti_of",
    "read_notes",
    "read_other_label",
    "volume_suffix",
    "write_volume",
]

VOLUME_SUFFIX: Final = ".npz"
"""How the labels of volumes end that are written, but for those of NIfTI maps."""

_LABEL: Final = "label"
_NOTES: Final = ("origin", "read")
_TEXTS: Final = "conformal-plugin: "
_REMEDY: Final = "write it again, or take it off the id list"


def volume_suffix(sources: Iterable[str | os.PathLike[str]]) -> str:
    """How the name of a volume's labels ends: as NIfTI's where a source is NIfTI, else ``.npz``.

    Args:
        sources: the files that it is made from, the map and perhaps the image.
    """
    return VOLUME_SUFFIX if nifti_of(sources) is None else NIFTI_SUFFIXES[0]


def nifti_of(sources: Iterable[str | os.PathLike[str]]) -> Path | None:
    """The first of some files that is NIfTI, whose place in space labels take."""
    paths = map(Path, sources)
    return next((path for path in paths if path.name.endswith(NIFTI_SUFFIXES)), None)


def read_other_label(path: Path) -> np.ndarray[Any, Any]:
    """Class indices ``(H, W)`` or ``(D, H, W)``: uint8 where they fit, else int32.

    Raises:
        SourceFileError: unreadable, of another kind, or not whole numbers.
        ShapeError: neither an image nor a volume.
    """
    with decoding(f"the label {path}", _REMEDY):
        read = reader_of(path)
        values = np.asarray(read(path, "label") if read else _array(path))
    if values.ndim not in (2, 3) or values.size == 0:
        raise ShapeError(
            f"the label {path} has shape {values.shape}; a label is one class index per pixel, "
            f"(H, W), or (D, H, W) of a volume"
        )
    return _whole_numbers(values, path)


def label_size(path: str | os.PathLike[str]) -> tuple[int, ...]:
    """The shape of a label, without reading it where its header says so.

    Raises:
        SourceFileError: unreadable.
        ShapeError: neither an image nor a volume.
    """
    path = Path(path)
    if reader_of(path) is None:
        if path.suffix.lower() == ".png":
            return image_size(path)
        if path.name.endswith(HDF5_SUFFIXES):
            return hdf5_shape(path, _LABEL)
        if path.name.endswith(NIFTI_SUFFIXES):
            return nifti_shape(path)
        if path.name.endswith(TIFF_SUFFIXES):
            return tiff_size(path)
    return tuple(read_other_label(path).shape)


def write_volume(
    path: Path, labels: np.ndarray[Any, Any], texts: tuple[str, str], like: Path | None
) -> None:
    """Write ``(D, H, W)`` class indices, all of it or nothing.

    Args:
        path: the file.
        labels: integers.
        texts: what they were made with, and what was read.
        like: the NIfTI image in whose place a NIfTI one lies.

    Raises:
        SourceFileError: the name ends in neither ``.npz`` nor ``.nii.gz``, or ``like`` is missing.
    """
    if path.name.endswith(NIFTI_SUFFIXES) and like is not None:
        write_nifti(path, labels, [_TEXTS + json.dumps(texts)], like)
        return
    if path.suffix != VOLUME_SUFFIX:
        raise SourceFileError(
            f"the labels of a volume are written as {VOLUME_SUFFIX}, or as .nii.gz like another "
            f"NIfTI image, and {path} is neither"
        )
    notes = dict(zip(_NOTES, map(np.array, texts)))
    with atomic_open(path) as file:
        np.savez_compressed(file, **{_LABEL: labels}, **notes)  # type: ignore[arg-type]


def read_notes(path: Path) -> tuple[str, str]:
    """What :func:`write_volume` was told of the making; empty where that is nothing.

    Raises:
        SourceFileError: unreadable.
    """
    with decoding(f"the label {path}", _REMEDY):
        texts: Any = ("", "")
        if path.suffix == VOLUME_SUFFIX:
            texts = (_numpy(path, name) for name in _NOTES)
        elif path.name.endswith(NIFTI_SUFFIXES):
            found = nifti_notes(path, LARGEST_MAP_BYTES)
            ours = [note[len(_TEXTS) :] for note in found if note.startswith(_TEXTS)]
            texts = json.loads(ours[0]) if ours else texts
        origin, read = map(str, texts)
    return origin, read


def _array(path: Path) -> np.ndarray[Any, Any]:
    if path.name.endswith(HDF5_SUFFIXES):
        return hdf5_array(path, None, _LABEL, LARGEST_MAP_BYTES)
    if path.name.endswith(NIFTI_SUFFIXES):
        return nifti_array(path, LARGEST_MAP_BYTES)
    if path.suffix == VOLUME_SUFFIX:
        return _numpy(path, _LABEL)
    if path.name.endswith(TIFF_SUFFIXES):
        bands = tiff_bands(path, LARGEST_MAP_BYTES)
        if len(bands) > 1:
            raise ShapeError(
                f"the label {path} has {len(bands)} bands where one of class indices was expected; "
                f"map colours to classes, or give the band that holds the classes"
            )
        return np.asarray(bands[0])
    raise SourceFileError(
        f"the label {path} is of a kind that is not read; write PNG, or have it read by a reader "
        f"of yours (--reader on the command line)"
    )


def _numpy(path: Path, name: str) -> np.ndarray[Any, Any]:
    return read_numpy(path, partial(chosen, key=name, path=path), LARGEST_MAP_BYTES)


def _whole_numbers(values: np.ndarray[Any, Any], path: Path) -> np.ndarray[Any, Any]:
    """As integers, which many tools keep as floating point."""
    if values.dtype.kind not in "biuf":
        raise SourceFileError(f"the label {path} holds {values.dtype}, and class indices are read")
    low, high = values.min(), values.max()
    whole = values.dtype.kind != "f" or bool((values == np.rint(values)).all())
    if not whole or not -(2**31) <= low <= high < 2**31:
        raise SourceFileError(
            f"the label {path} holds numbers from {low} to {high} that are no class indices: "
            f"whole numbers are read; is it a photo or a map of probabilities?"
        )
    return np.ascontiguousarray(values, np.uint8 if low >= 0 and high <= 255 else np.int32)
