"""Reading and writing label maps as PNG files, pixel values being class indices."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from conformal_plugin._atomic import atomic_open
from conformal_plugin._extras import optional
from conformal_plugin.errors import InputTypeError, LabelError, ShapeError, SourceFileError
from conformal_plugin.files._ids import find_files
from conformal_plugin.files._lazy import LazySequence
from conformal_plugin.files._palette import voc_palette

__all__ = [
    "LABEL_SUFFIXES",
    "image_size",
    "label_files",
    "opened_image",
    "read_label",
    "read_origin",
    "write_label",
]

LABEL_SUFFIXES = (".png",)
"""How the names of label maps end."""

_ORIGIN = "conformal-plugin"
_EIGHT_BIT = ("P", "L")
_WIDE = ("I;16", "I;16B", "I;16L", "I;16N", "I")
_DAMAGED = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error)


def label_files(folder: str | os.PathLike[str], ids: Sequence[str]) -> LazySequence[Any]:
    """The label maps of ``ids`` in ``folder``, each read when it is asked for.

    Raises:
        SourceFileError: at once, for ids without a label; later, as :func:`read_label`.
    """
    return LazySequence(read_label, find_files(folder, ids, LABEL_SUFFIXES, "label"))


def read_label(path: str | os.PathLike[str]) -> np.ndarray[Any, Any]:
    """Read class indices ``(H, W)``: uint8, or int32 from a 16-bit file.

    Palette files (mode P) give their indices, never their colours; so do grey ones (mode L, 16
    bits).

    Raises:
        SourceFileError: unreadable, or an image of colours.
    """
    with opened_image(path) as image:
        if image.mode not in _EIGHT_BIT + _WIDE:
            raise SourceFileError(
                f"the label {path} has colours (mode {image.mode}) where class indices were "
                f"expected: a label is a palette PNG (mode P) or a grey one (mode L or 16 bits) "
                f"whose pixel values are classes; map each colour to its class index and save "
                f"that, with conformal_plugin.files.write_label for instance"
            )
        values = np.array(image)
    return values if values.dtype == np.uint8 else values.astype(np.int32)


def write_label(path: str | os.PathLike[str], labels: Any, *, origin: str = "") -> None:
    """Write class indices as a PNG, all of it or nothing.

    Args:
        path: the file; its folder is made when missing.
        labels: ``(H, W)`` integers. uint8 gives mode P with the VOC palette; a wider dtype, which
            :func:`conformal_plugin.filter` returns for more than 255 classes, a 16-bit grey file.
        origin: text that is stored in the file and that :func:`read_origin` gives back.

    Raises:
        InputTypeError: not integers.
        ShapeError: not two-dimensional, or without a pixel.
        LabelError: values that 16 bits without a sign do not hold.
    """
    values = np.asarray(labels)
    if values.dtype.kind not in "iu":
        raise InputTypeError(f"labels must be integers to be written as PNG, got {values.dtype}")
    if values.ndim != 2 or values.size == 0:
        raise ShapeError(f"labels must have shape (H, W) to be written as PNG, got {values.shape}")
    if values.dtype != np.uint8:
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > 65535:
            raise LabelError(
                f"a PNG holds labels 0 ... 65535, got {low} ... {high}; choose an ignore_index in "
                f"that range, 65535 for instance"
            )
        values = values.astype(np.uint16)
    image = _pillow("Image").fromarray(values)
    if values.dtype == np.uint8:
        image.putpalette(voc_palette())
    text = _pillow("PngImagePlugin").PngInfo()
    if origin:
        text.add_text(_ORIGIN, origin)
    with atomic_open(path) as handle:
        image.save(handle, format="PNG", pnginfo=text)


def read_origin(path: str | os.PathLike[str]) -> str:
    """The ``origin`` that :func:`write_label` stored; empty where there is none.

    Raises:
        SourceFileError: unreadable.
    """
    with opened_image(path) as image:
        return str(image.info.get(_ORIGIN, ""))


def image_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """``(H, W)`` of an image file, read from its header.

    Raises:
        SourceFileError: unreadable.
    """
    with opened_image(path) as image:
        return int(image.height), int(image.width)


@contextmanager
def opened_image(path: str | os.PathLike[str]) -> Iterator[Any]:
    """A Pillow image; whatever is wrong with its file, also while the block decodes it.

    Raises:
        SourceFileError: unreadable.
    """
    pillow = _pillow("Image")
    try:
        with pillow.open(Path(path)) as image:
            yield image
    except SourceFileError:
        raise
    except (*_DAMAGED, pillow.DecompressionBombError) as error:
        raise SourceFileError(
            f"cannot read the image {path} ({type(error).__name__}: {error}); write it again, or "
            f"take it off the id list"
        ) from error


def _pillow(module: str) -> Any:
    return optional(f"PIL.{module}", "Pillow", "reading and writing images")
