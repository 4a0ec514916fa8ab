"""Opening image files: of the kinds that are meant, whole, and with errors that name the file."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conformal_plugin._extras import optional
from conformal_plugin.errors import SourceFileError
from conformal_plugin.files._decoding import decoding
from conformal_plugin.files._png import PNG_SIGNATURE, check_png

__all__ = ["image_size", "opened_label", "opened_photo", "orientation", "pillow"]

# Pillow tries every format that it knows on any name, and starts a program for some of them.
_USUAL = ("PNG", "JPEG")
_BY_SUFFIX = {".tif": ("TIFF",), ".tiff": ("TIFF",), ".bmp": ("BMP",), ".webp": ("WEBP",)}

_ORIENTATION = 0x0112  # of EXIF
_AS_STORED = 1

_REMEDY = "write it again, or take it off the id list"


def pillow(module: str) -> Any:
    """A module of Pillow.

    Raises:
        MissingExtraError: it is not installed.
    """
    return optional(f"PIL.{module}", "Pillow", "reading and writing images")


@contextmanager
def opened_label(path: str | os.PathLike[str]) -> Iterator[tuple[Any, int]]:
    """A Pillow image of a PNG whose checksums fit, and the bits of a sample in the file.

    Raises:
        SourceFileError: unreadable, also while the block decodes it.
    """
    library = pillow("Image")
    with decoding(f"the image {path}", _REMEDY):
        content = Path(path).read_bytes()
        bits = check_png(content)
        with _not_too_large(path), library.open(io.BytesIO(content), formats=("PNG",)) as image:
            yield image, bits


@contextmanager
def opened_photo(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A Pillow image of a photo; the checksums of a PNG are compared.

    Raises:
        SourceFileError: unreadable, also while the block decodes it.
    """
    library = pillow("Image")
    with decoding(f"the image {path}", _REMEDY):
        content = Path(path).read_bytes()
        if content.startswith(PNG_SIGNATURE):
            check_png(content)
        with (
            _not_too_large(path),
            library.open(io.BytesIO(content), formats=_formats(path)) as image,
        ):
            yield image


def image_size(path: str | os.PathLike[str], *, follow_exif: bool = False) -> tuple[int, int]:
    """``(H, W)`` of an image file that Pillow reads, by its header.

    Args:
        path: the file.
        follow_exif: that of the photo turned as its EXIF says.

    Raises:
        SourceFileError: unreadable.
    """
    library = pillow("Image")
    with (
        decoding(f"the image {path}", _REMEDY),
        _not_too_large(path),
        library.open(Path(path), formats=_formats(path)) as image,
    ):
        size = int(image.height), int(image.width)
        # Of the eight orientations of EXIF the last four lie on their side.
        return size[::-1] if follow_exif and orientation(image) > 4 else size


@contextmanager
def _not_too_large(path: str | os.PathLike[str]) -> Iterator[None]:
    """Say what can be done where Pillow takes an image for an attack on the memory."""
    library = pillow("Image")
    try:
        yield
    except library.DecompressionBombError as error:
        raise SourceFileError(
            f"the image {path} has more pixels than Pillow opens unasked ({error}); if it is no "
            f"attack cut it into tiles, or raise PIL.Image.MAX_IMAGE_PIXELS in Python first"
        ) from error


def orientation(image: Any) -> int:
    """How the EXIF says a photo is to be turned: 1 for not at all, 2 ... 8 as it defines them."""
    found = image.getexif().get(_ORIENTATION, _AS_STORED)
    return found if isinstance(found, int) and 1 <= found <= 8 else _AS_STORED


def _formats(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """What a photo of this name may be."""
    return _BY_SUFFIX.get(Path(path).suffix.lower(), _USUAL)
