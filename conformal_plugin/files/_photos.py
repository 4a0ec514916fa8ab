"""Reading photos as the training code does: pixels as stored, red, green, blue."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from conformal_plugin.errors import MissingExtraError, ShapeError, SourceFileError
from conformal_plugin.files._decoding import decoding
from conformal_plugin.files._hdf5 import HDF5_SUFFIXES, hdf5_array, hdf5_shape
from conformal_plugin.files._images import image_size, opened_photo, orientation
from conformal_plugin.files._memory import LARGEST_MAP_BYTES
from conformal_plugin.files._nifti import NIFTI_SUFFIXES, nifti_shape
from conformal_plugin.files._photo_values import of_8_bits, rgb, turned
from conformal_plugin.files._readers import reader_of, suffixes_in
from conformal_plugin.files._tiff import (
    TIFF_SUFFIXES,
    tiff_bands,
    tiff_images,
    tiff_orientation,
    tiff_size,
)

__all__ = [
    "OTHER_PHOTO_SUFFIXES",
    "PHOTO_SUFFIXES",
    "photo_orientation",
    "photo_size",
    "photo_suffixes",
    "read_photo",
]

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
"""How the names of photos end."""

OTHER_PHOTO_SUFFIXES = (*HDF5_SUFFIXES, *NIFTI_SUFFIXES, *TIFF_SUFFIXES)
"""How those end that are looked for in a folder without one of these."""

T = TypeVar("T")

_IMAGE = "image"
_AS_STORED = 1
_REMEDY = "write it again, or take it off the id list"
_VOLUME_REMEDY = (
    "annotators take photos of 8 bits, and how a volume's values become that is a choice: name the "
    "values that are black and white, annotate --window LOW HIGH, and its slices are annotated; or "
    "score it by code of yours, and keep the scores (K, D, H, W) with "
    "conformal_plugin.files.MapStore, from where all commands read them"
)


def photo_suffixes(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """How the names of the photos in ``folder`` end: JPEG and PNG, else any other kind."""
    return suffixes_in(folder, PHOTO_SUFFIXES, OTHER_PHOTO_SUFFIXES)


def read_photo(path: str | os.PathLike[str], *, follow_exif: bool = False) -> npt.NDArray[np.uint8]:
    """Read ``(H, W, 3)`` uint8; grey and palette photos become RGB, 16 bits become 8.

    Of an ``.h5`` the array ``image`` is read, whose floating-point values must lie in [0, 1]; of
    ``.tif`` three bands, or one, turned as its tags say, which Pillow does anyhow.

    Args:
        path: the file.
        follow_exif: turn the photo as its camera noted (EXIF). By default the pixels are taken as
            stored, since training code reads these.

    Raises:
        SourceFileError: unreadable, cut off, a PNG whose checksums do not fit, or values that
            cannot be scaled to 8 bits without a guess.
        ShapeError: a volume, or another number of bands.
    """
    path = Path(path)
    read = reader_of(path)
    if read is not None:
        with decoding(f"the image {path}", _REMEDY):
            return _as_rgb(np.asarray(read(path, "photo")), path)
    if path.name.endswith(HDF5_SUFFIXES):
        return _as_rgb(hdf5_array(path, None, _IMAGE, LARGEST_MAP_BYTES), path)
    if path.name.endswith(NIFTI_SUFFIXES):
        raise ShapeError(f"the image {path} is a volume {nifti_shape(path)}; {_VOLUME_REMEDY}")
    if path.name.endswith(TIFF_SUFFIXES):
        return _by_either(lambda: _usual(path, follow_exif), lambda: _tiff_photo(path))
    return _usual(path, follow_exif)


def photo_orientation(path: str | os.PathLike[str]) -> int:
    """How a photo's EXIF says that it is to be turned: 1 for not at all, else 2 ... 8.

    What a reader of the user's gives, arrays of HDF5, and TIFF are as they are meant.

    Raises:
        SourceFileError: unreadable.
    """
    path = Path(path)
    if reader_of(path) is not None or path.name.endswith((*HDF5_SUFFIXES, *TIFF_SUFFIXES)):
        return _AS_STORED
    with opened_photo(path) as image:
        return orientation(image)


def photo_size(path: str | os.PathLike[str], *, follow_exif: bool = False) -> tuple[int, ...]:
    """``(H, W)``, or ``(D, H, W)`` of a volume, without reading it where its header says so.

    Args:
        path: the file.
        follow_exif: that of the photo turned as its EXIF says.

    Raises:
        SourceFileError: unreadable.
    """
    path = Path(path)
    read = reader_of(path)
    if read is not None:
        with decoding(f"the image {path}", _REMEDY):
            shape = np.shape(read(path, "photo"))
        return shape[:-1] if len(shape) == 3 and shape[-1] == 3 else shape
    if path.name.endswith(HDF5_SUFFIXES):
        return hdf5_shape(path, _IMAGE)
    if path.name.endswith(NIFTI_SUFFIXES):
        return nifti_shape(path)
    if path.name.endswith(TIFF_SUFFIXES):
        return _by_either(lambda: image_size(path), lambda: _tiff_photo_size(path))
    return image_size(path, follow_exif=follow_exif)


def _usual(path: Path, follow_exif: bool) -> npt.NDArray[np.uint8]:
    with opened_photo(path) as image:
        return rgb(image, path, follow_exif)


def _by_either(by_pillow: Callable[[], T], by_tifffile: Callable[[], T]) -> T:
    """What is read of a TIFF photo: by Pillow, which knows what its tags say of colours.

    Where Pillow cannot unpack it, by tifffile.
    """
    try:
        return by_pillow()
    except SourceFileError as error:
        if error.__cause__ is None:  # it was read, and is refused
            raise
        try:
            return by_tifffile()
        except MissingExtraError as missing:
            raise SourceFileError(f"{error}. Or, where the file is whole: {missing}") from error


def _tiff_photo(path: Path) -> npt.NDArray[np.uint8]:
    if (images := tiff_images(path)) > 1:
        raise SourceFileError(
            f"the photo {path} holds {images} images; save the one that is meant, or the bands "
            f"that are red, green and blue"
        )
    bands = tiff_bands(path, LARGEST_MAP_BYTES)
    if bands.dtype.kind == "f":  # which value is white no tag says: refused
        of_8_bits(bands, path)
    return turned(_as_rgb(np.moveaxis(bands, 0, -1), path), tiff_orientation(path))


def _tiff_photo_size(path: Path) -> tuple[int, int]:
    height, width = tiff_size(path)
    return (width, height) if tiff_orientation(path) > 4 else (height, width)


def _as_rgb(values: np.ndarray[Any, Any], path: Path) -> npt.NDArray[np.uint8]:
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim == 2:
        values = np.stack([values] * 3, axis=-1)
    if values.ndim != 3 or values.shape[-1] != 3:
        raise ShapeError(
            f"the image {path} has shape {values.shape}; a photo is (H, W) or (H, W, 3). Which "
            f"bands are red, green and blue a reader of yours can say (--reader on the command "
            f"line). If it is a volume: {_VOLUME_REMEDY}"
        )
    if values.dtype.kind == "f" and values.min() >= 0 and values.max() <= 1:
        return np.asarray(np.rint(values * 255), dtype=np.uint8)
    return np.ascontiguousarray(of_8_bits(values, path))
