"""TIFF and GeoTIFF: the bands of one image, or an image a band."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from conformal_plugin._extras import optional
from conformal_plugin.errors import ShapeError, SourceFileError
from conformal_plugin.files._decoding import decoding
from conformal_plugin.files._memory import require_room

__all__ = [
    "TIFF_SUFFIXES",
    "tiff_bands",
    "tiff_images",
    "tiff_orientation",
    "tiff_parts",
    "tiff_shape",
    "tiff_size",
]

TIFF_SUFFIXES = (".tif", ".tiff", ".TIF", ".TIFF")

_AS_STORED: Final = 1
_UNPACKED: Final = 1
_REMEDY: Final = "write it again with tifffile, rasterio or GDAL"


def tiff_bands(path: Path, max_bytes: int) -> np.ndarray[Any, Any]:
    """The values ``(bands, H, W)``: of the bands of one image, or of images of one band.

    No other file is opened, whatever the tags say, and no overview is read.

    Raises:
        SourceFileError: unreadable, damaged, or too large.
        ShapeError: images of several sizes, or of several bands each.
        MissingExtraError: tifffile, or for packed files imagecodecs, is not installed.
    """
    library = optional("tifffile", "tifffile", f"reading {path}", "tif")
    with decoding(f"the file {path}", _REMEDY), library.TiffFile(path, _multifile=False) as file:
        pages = _full(file)
        size = sum(prod(page.shape) * np.dtype(page.dtype).itemsize for page in pages)
        require_room(size, path, max_bytes)
        for page in pages:
            if page.dtype is None or np.dtype(page.dtype).kind not in "biuf":
                raise SourceFileError(f"the file {path} holds {page.dtype}, and numbers are read")
            if page.compression != _UNPACKED:
                # Its decoders unpack no more than a part of the image takes.
                optional("imagecodecs", "imagecodecs", f"unpacking {path}", "tif")
        if len(pages) == 1:
            return _bands_first(pages[0], path)
        if any(page.axes != "YX" or page.shape != pages[0].shape for page in pages):
            raise ShapeError(
                f"the file {path} holds images of shapes "
                f"{', '.join(str(page.shape) for page in pages[:5])}; expected one image whose "
                f"bands are the classes, or one image of one band for each class"
            )
        return np.stack([page.asarray() for page in pages])


def tiff_shape(path: Path) -> tuple[tuple[int, int, int], np.dtype[Any]]:
    """``(bands, H, W)`` and the dtype of an image whose bands lie together.

    Raises:
        SourceFileError, MissingExtraError: as :func:`tiff_bands`.
        ShapeError: several images, or bands that lie apart.
    """
    library = optional("tifffile", "tifffile", f"reading {path}", "tif")
    with decoding(f"the file {path}", _REMEDY), library.TiffFile(path, _multifile=False) as file:
        page = _only(file, path)
        height, width, bands = page.shape
        return (bands, height, width), np.dtype(page.dtype)


def tiff_parts(path: Path) -> Iterator[np.ndarray[Any, Any]]:
    """``(bands, h, W)`` from top to bottom, h being the height of a tile or strip.

    Raises:
        SourceFileError, ShapeError, MissingExtraError: as :func:`tiff_shape`.
    """
    library = optional("tifffile", "tifffile", f"reading {path}", "tif")
    with decoding(f"the file {path}", _REMEDY), library.TiffFile(path, _multifile=False) as file:
        page = _only(file, path)
        height, width, bands = page.shape
        rows = page.tilelength if page.is_tiled else page.rowsperstrip
        across = -(-width // page.tilewidth) if page.is_tiled else 1
        segments = zip(page.dataoffsets, page.databytecounts)
        for top in range(0, height, rows):
            part = np.zeros((min(rows, height - top), width, bands), page.dtype)
            for column in range(across):
                offset, size = next(segments)
                index = top // rows * across + column
                file.filehandle.seek(offset)
                packed = file.filehandle.read(size) if size else None
                data, place, _ = page.decode(packed, index)
                if data is not None:  # a piece that was left out holds nothing but zeros
                    there = part[:, place[-2] : place[-2] + data.shape[2]]
                    # Tiles at the edges reach beyond them.
                    there[:] = data[0, : there.shape[0], : there.shape[1]]
            yield np.moveaxis(part, -1, 0)


def tiff_size(path: Path) -> tuple[int, int]:
    """``(H, W)``, read from the tags.

    Raises:
        SourceFileError, MissingExtraError: as :func:`tiff_bands`.
    """
    library = optional("tifffile", "tifffile", f"reading {path}", "tif")
    with decoding(f"the file {path}", _REMEDY), library.TiffFile(path, _multifile=False) as file:
        first = _full(file)[0]
        return int(first.imagelength), int(first.imagewidth)


def tiff_images(path: Path) -> int:
    """How many images a file holds, without smaller copies of them.

    Raises:
        SourceFileError, MissingExtraError: as :func:`tiff_bands`.
    """
    library = optional("tifffile", "tifffile", f"reading {path}", "tif")
    with decoding(f"the file {path}", _REMEDY), library.TiffFile(path, _multifile=False) as file:
        return len(_full(file))


def tiff_orientation(path: Path) -> int:
    """How the tags say that the image is to be turned: 1 for not at all, else 2 ... 8.

    Raises:
        SourceFileError, MissingExtraError: as :func:`tiff_bands`.
    """
    library = optional("tifffile", "tifffile", f"reading {path}", "tif")
    with decoding(f"the file {path}", _REMEDY), library.TiffFile(path, _multifile=False) as file:
        tag = _full(file)[0].tags.get("Orientation")
        said = _AS_STORED if tag is None else int(tag.value)
        return said if 1 <= said <= 8 else _AS_STORED


def _full(file: Any) -> list[Any]:
    """The images of a file without smaller copies of them.

    Raises:
        ValueError: each says where the next one lies, and one of them is an earlier one.
    """
    places: set[int] = set()
    found = []
    for page in file.pages:
        if page.offset in places:
            raise ValueError("its images go round in a circle")
        places.add(page.offset)
        if not page.is_reduced:
            found.append(page)
    return found


def _only(file: Any, path: Path) -> Any:
    pages = _full(file)
    if len(pages) != 1 or pages[0].axes != "YXS" or np.dtype(pages[0].dtype).kind not in "uif":
        raise ShapeError(
            f"the file {path} has {len(pages)} images, the first with the axes {pages[0].axes}; "
            f"one whose bands lie together (GDAL's INTERLEAVE=PIXEL) can be read in parts"
        )
    if pages[0].compression != _UNPACKED:
        optional("imagecodecs", "imagecodecs", f"unpacking {path}", "tif")
    return pages[0]


def _bands_first(page: Any, path: Path) -> np.ndarray[Any, Any]:
    values = np.asarray(page.asarray())
    if page.axes == "YX":
        return values[None]
    if page.axes == "YXS":
        return np.moveaxis(values, -1, 0)
    if page.axes in ("SYX", "ZYX"):
        return values
    raise ShapeError(
        f"the file {path} has the axes {page.axes}, {values.shape}; expected rows, columns and "
        f"bands"
    )
