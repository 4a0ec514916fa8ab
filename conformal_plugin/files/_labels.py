"""Reading and writing label maps as PNG files, pixel values being class indices."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformal_plugin._atomic import atomic_open
from conformal_plugin.errors import InputTypeError, LabelError, ShapeError, SourceFileError
from conformal_plugin.files._ids import IdList, find_files
from conformal_plugin.files._images import opened_label, pillow
from conformal_plugin.files._lazy import LazySequence
from conformal_plugin.files._palette import voc_palette

__all__ = [
    "LABEL_SUFFIXES",
    "MadeLabel",
    "label_files",
    "read_label",
    "read_made_label",
    "read_origin",
    "write_label",
]

LABEL_SUFFIXES = (".png",)
"""How the names of label maps end."""

_ORIGIN = "conformal-plugin"
_READ = "conformal-plugin-read"
_GREY = ("1", "L")
_WIDE = ("I;16", "I;16B", "I;16L", "I;16N", "I")


@dataclass(frozen=True)
class MadeLabel:
    """A label with what :func:`write_label` stored beside it.

    Attributes:
        values: class indices ``(H, W)``.
        origin: what it was made with.
        read: what was read for it.
    """

    values: np.ndarray[Any, Any]
    origin: str
    read: str


def label_files(folder: str | os.PathLike[str], ids: IdList | Sequence[str]) -> LazySequence[Any]:
    """The label maps of ``ids`` in ``folder``, each read when it is asked for.

    Raises:
        SourceFileError: at once, for ids without a label; later, as :func:`read_label`.
    """
    return LazySequence(read_label, find_files(folder, ids, LABEL_SUFFIXES, "label"))


def read_label(path: str | os.PathLike[str]) -> np.ndarray[Any, Any]:
    """Read class indices ``(H, W)``: uint8, or int32 from a 16-bit file.

    Palette files (mode P) give their indices, never their colours; so do grey ones of 1, 2, 4, 8
    and 16 bits. All checksums of the file are compared.

    Raises:
        SourceFileError: no PNG, damaged, or an image of colours.
    """
    with opened_label(path) as (image, bits):
        return _values(path, image, bits)


def read_made_label(path: str | os.PathLike[str]) -> MadeLabel:
    """Read a label and what :func:`write_label` stored beside it; empty where that is nothing.

    Raises:
        SourceFileError: as for :func:`read_label`.
    """
    with opened_label(path) as (image, bits):
        values = _values(path, image, bits)
        return MadeLabel(values, _text(image, _ORIGIN), _text(image, _READ))


def write_label(
    path: str | os.PathLike[str], labels: Any, *, origin: str = "", read: str = ""
) -> None:
    """Write class indices as a PNG, all of it or nothing.

    Args:
        path: the file; its folder is made when missing.
        labels: ``(H, W)`` integers. uint8 gives mode P with the VOC palette; a wider dtype, which
            :func:`conformal_plugin.filter` returns for more than 255 classes, a 16-bit grey file.
        origin: what it was made with, a text that is stored in the file and that
            :func:`read_origin` gives back.
        read: what was read for it, a text that is stored, too.

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
    image = pillow("Image").fromarray(values)
    if values.dtype == np.uint8:
        image.putpalette(voc_palette())
    text = pillow("PngImagePlugin").PngInfo()
    for name, stored in ((_ORIGIN, origin), (_READ, read)):
        if stored:
            text.add_text(name, stored)
    with atomic_open(path) as handle:
        image.save(handle, format="PNG", pnginfo=text)


def read_origin(path: str | os.PathLike[str]) -> str:
    """The ``origin`` that :func:`write_label` stored; empty where there is none.

    Raises:
        SourceFileError: unreadable.
    """
    with opened_label(path) as (image, _):
        return _text(image, _ORIGIN)


def _values(path: str | os.PathLike[str], image: Any, bits: int) -> np.ndarray[Any, Any]:
    if image.mode not in ("P", *_GREY, *_WIDE):
        raise SourceFileError(
            f"the label {path} has colours (mode {image.mode}) where class indices were "
            f"expected: a label is a palette PNG (mode P) or a grey one whose pixel values are "
            f"classes; map each colour to its class index and save that, with "
            f"conformal_plugin.files.write_label for instance"
        )
    values = np.array(image)
    if image.mode in _WIDE:
        return values.astype(np.int32)
    if image.mode in _GREY and bits < 8:
        # Grey of few bits is given as brightness: black is 0 and white 255, or True.
        white = 1 if image.mode == "1" else 255
        values = values.astype(np.uint8) // np.uint8(white // (2**bits - 1))
    return values


def _text(image: Any, name: str) -> str:
    return str(image.info.get(name, ""))
