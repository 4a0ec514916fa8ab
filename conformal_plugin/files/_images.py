"""Opening image files: of the kinds that are meant, whole, and with errors that name the file."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

from conformal_plugin._extras import optional
from conformal_plugin.errors import OptionError, SourceFileError
from conformal_plugin.files._decoding import decoding
from conformal_plugin.files._png import PNG_SIGNATURE, check_png

__all__ = [
    "LARGEST_IMAGE_PIXELS",
    "image_size",
    "images_up_to",
    "opened_label",
    "opened_photo",
    "orientation",
    "pillow",
]

LARGEST_IMAGE_PIXELS: Final = 2 * (2**30 // 4 // 3)
"""The most pixels of a PNG that is read unless more is asked for, 178,956,970 as Pillow has it."""

_most_pixels = LARGEST_IMAGE_PIXELS

# Pillow tries every format that it knows on any name, and starts a program for some of them.
_USUAL = ("PNG", "JPEG")
_BY_SUFFIX = {".tif": ("TIFF",), ".tiff": ("TIFF",), ".bmp": ("BMP",), ".webp": ("WEBP",)}

_WIDTH, _LENGTH = 256, 257  # tags of TIFF
_ORIENTATION = 0x0112  # of EXIF, and a tag of TIFF
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
    with decoding(f"the image {path}", _REMEDY):
        content = Path(path).read_bytes()
        bits = check_png(content)
        with _png(io.BytesIO(content), path) as image:
            yield image, bits


@contextmanager
def opened_photo(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A Pillow image of a photo; the checksums of a PNG are compared.

    Raises:
        SourceFileError: unreadable, also while the block decodes it.
    """
    with decoding(f"the image {path}", _REMEDY):
        content = Path(path).read_bytes()
        stream = io.BytesIO(content)
        if content.startswith(PNG_SIGNATURE):
            check_png(content)
            opened = _png(stream, path)
        else:
            opened = _unpacked_by_pillow(stream, path)
        with opened as image:
            yield image


def image_size(path: str | os.PathLike[str], *, follow_exif: bool = False) -> tuple[int, int]:
    """``(H, W)`` of an image file that Pillow reads, by its header.

    Args:
        path: the file.
        follow_exif: that of the photo turned as its EXIF says; a TIFF is turned in any case.

    Raises:
        SourceFileError: unreadable.
    """
    with decoding(f"the image {path}", _REMEDY), Path(path).open("rb") as file:
        is_png = file.read(len(PNG_SIGNATURE)) == PNG_SIGNATURE
        file.seek(0)
        with _png(file, path) if is_png else _unpacked_by_pillow(file, path) as image:
            size = int(image.height), int(image.width)
            if image.format == "TIFF":  # which some releases of Pillow have turned by now
                size = int(image.tag_v2[_LENGTH]), int(image.tag_v2[_WIDTH])
                follow_exif = True
            # Of the eight orientations of EXIF the last four lie on their side.
            return size[::-1] if follow_exif and orientation(image) > 4 else size


@contextmanager
def images_up_to(pixels: int) -> Iterator[None]:
    """Read PNGs of up to so many pixels in this process as long as the block runs.

    Pillow warns above 89 million and refuses above twice that, as a small packed file can ask for
    much memory; masks of large photos may be larger. On the command line: ``--max-image-pixels``.

    Raises:
        OptionError: below 1.
    """
    global _most_pixels
    if pixels < 1:
        raise OptionError(f"images must be allowed at least 1 pixel, got {pixels}")
    before, _most_pixels = _most_pixels, pixels
    try:
        yield
    finally:
        _most_pixels = before


def _png(file: BinaryIO, path: str | os.PathLike[str]) -> Any:
    """A Pillow image of a PNG, by our limit and not by Pillow's, which is a global of its own."""
    image = pillow("PngImagePlugin").PngImageFile(file)
    if image.width * image.height > _most_pixels:
        raise SourceFileError(
            f"the image {path} has {image.width} x {image.height} pixels, and at most "
            f"{_most_pixels} are read: is it damaged? If not, raise the limit with "
            f"conformal_plugin.files.images_up_to (--max-image-pixels on the command line)"
        )
    return image


def _unpacked_by_pillow(file: BinaryIO, path: str | os.PathLike[str]) -> Any:
    """A Pillow image that is no PNG, by Pillow's limit."""
    library = pillow("Image")
    try:
        return library.open(file, formats=_formats(path))
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
