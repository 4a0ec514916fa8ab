"""NIfTI images in the order of axes that arrays have: slices, rows, columns."""

from __future__ import annotations

import gzip
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np

from conformal_plugin._atomic import atomic_open
from conformal_plugin._extras import optional
from conformal_plugin.errors import SourceFileError
from conformal_plugin.files._decoding import decoding
from conformal_plugin.files._memory import require_room

__all__ = ["NIFTI_SUFFIXES", "nifti_array", "nifti_notes", "nifti_shape", "write_nifti"]

NIFTI_SUFFIXES = (".nii.gz", ".nii")

_HEAD: Final = 2**20
"""Room for a header and its extensions."""
_COMMENT: Final = 6  # the code of a header extension that is a text
_REMEDY: Final = "write it again with nibabel or SimpleITK"


def nifti_array(path: Path, max_bytes: int) -> np.ndarray[Any, Any]:
    """The values of an image, its axes reversed: ``(z, y, x)``, or ``(K, z, y, x)``.

    That is the order in which SimpleITK gives them, and puts the classes of a four-dimensional
    image first.

    Raises:
        SourceFileError: unreadable, damaged, or too large.
        MissingExtraError: nibabel is not installed.
    """
    image = _image(path, max_bytes)
    with decoding(f"the file {path}", _REMEDY):
        values = np.asanyarray(image.dataobj)
    if values.dtype.kind not in "biuf":
        raise SourceFileError(f"the file {path} holds {values.dtype}, and numbers are read")
    return np.asarray(values.transpose())


def nifti_shape(path: Path) -> tuple[int, ...]:
    """The shape that :func:`nifti_array` would have.

    Raises:
        SourceFileError, MissingExtraError: as there.
    """
    library = _library(path)
    with decoding(f"the file {path}", _REMEDY), _opened(path) as file:
        header = _kind(library, file.read(_HEAD))
        return tuple(int(size) for size in reversed(header.get_data_shape()))


def nifti_notes(path: Path, max_bytes: int) -> list[str]:
    """The texts that :func:`write_nifti` has put into the header."""
    image = _image(path, max_bytes)
    with decoding(f"the file {path}", _REMEDY):
        found = [e.get_content() for e in image.header.extensions if e.get_code() == _COMMENT]
        return [note.decode() if isinstance(note, bytes) else str(note) for note in found]


def write_nifti(path: Path, values: np.ndarray[Any, Any], notes: list[str], like: Path) -> None:
    """Write ``(z, y, x)`` values where another image lies in space, all of it or nothing.

    Args:
        path: the file.
        values: integers.
        notes: texts for the header.
        like: the image whose place and directions are taken.
    """
    library = _library(path)
    with decoding(f"the file {like}", _REMEDY), _opened(like) as file:
        header = _kind(library, file.read(_HEAD))
    image = library.Nifti1Image(values.transpose(), header.get_best_affine())
    image.header.set_xyzt_units(*header.get_xyzt_units())
    for note in notes:
        image.header.extensions.append(library.nifti1.Nifti1Extension("comment", note.encode()))
    with atomic_open(path) as target, gzip.GzipFile("", "wb", 6, target, 0) as packed:
        image.to_stream(packed)


def _image(path: Path, max_bytes: int) -> Any:
    library = _library(path)
    with decoding(f"the file {path}", _REMEDY), _opened(path) as file:
        head = file.read(_HEAD)
        header = _kind(library, head)
        size = prod(header.get_data_shape()) * header.get_data_dtype().itemsize
        # Where values are scaled they come as float64.
        scaled = header.get_slope_inter() not in ((None, None), (1.0, 0.0))
        require_room(prod(header.get_data_shape()) * 8 if scaled else size, path, max_bytes)
        offset = int(header.get_data_offset())
        require_room(offset, path, _HEAD)
        # To the end, where a packed file's checksum is compared.
        content = head + file.read(max(0, offset + size + _HEAD - len(head)))
        if file.read(1):
            raise SourceFileError(f"the file {path} holds more than its header says; {_REMEDY}")
        pair = library.Nifti2Image if len(header.binaryblock) > 348 else library.Nifti1Image
        return pair.from_bytes(content)


def _kind(library: Any, head: bytes) -> Any:
    """The header of version 1 or 2 of the format, by its size."""
    sizes = {int.from_bytes(head[:4], order) for order in ("little", "big")}
    first = library.Nifti2Header if 540 in sizes else library.Nifti1Header
    return first(head[: first.sizeof_hdr], check=True)


def _opened(path: Path) -> Any:
    return gzip.open(path) if path.name.endswith(".gz") else path.open("rb")


def _library(path: Path) -> Any:
    return optional("nibabel", "nibabel", f"reading and writing {path}", "nifti")
