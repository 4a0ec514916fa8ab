"""Opening image files: of the kinds that are meant, whole, and with errors that name the file."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conformal_plugin._extras import optional
from conformal_plugin.files._decoding import decoding
from conformal_plugin.files._png import PNG_SIGNATURE, check_png

__all__ = ["image_size", "opened_label", "opened_photo", "pillow"]

# Pillow tries every format that it knows on any name, and starts a program for some of them.
_USUAL = ("PNG", "JPEG")
_BY_SUFFIX = {".tif": ("TIFF",), ".tiff": ("TIFF",), ".bmp": ("BMP",), ".webp": ("WEBP",)}

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
        with library.open(io.BytesIO(content), formats=("PNG",)) as image:
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
        with library.open(io.BytesIO(content), formats=_formats(path)) as image:
            yield image


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """``(H, W)`` of an image file, read from its header.

    Raises:
        SourceFileError: unreadable.
    """
    library = pillow("Image")
    with (
        decoding(f"the image {path}", _REMEDY),
        library.open(Path(path), formats=_formats(path)) as image,
    ):
        return int(image.height), int(image.width)


def _formats(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """What a photo of this name may be."""
    return _BY_SUFFIX.get(Path(path).suffix.lower(), _USUAL)
