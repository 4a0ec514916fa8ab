"""Reading label maps of every kind that is known, and writing them as PNG files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conformal_plugin._atomic import atomic_open
from conformal_plugin.errors import (
    InputTypeError,
    LabelError,
    OptionError,
    ShapeError,
    SourceFileError,
)
from conformal_plugin.files._hdf5 import HDF5_SUFFIXES
from conformal_plugin.files._ids import IdList, find_files
from conformal_plugin.files._images import opened_label, pillow
from conformal_plugin.files._label_colours import Palettes, warn_of_moved_colours
from conformal_plugin.files._lazy import LazySequence
from conformal_plugin.files._naming import Naming
from conformal_plugin.files._nifti import NIFTI_SUFFIXES
from conformal_plugin.files._other_labels import (
    VOLUME_SUFFIX,
    read_notes,
    read_other_label,
    write_volume,
)
from conformal_plugin.files._palette import voc_palette
from conformal_plugin.files._readers import reader_of, suffixes_in
from conformal_plugin.files._tiff import TIFF_SUFFIXES
from conformal_plugin.scores import LabelMap

__all__ = [
    "LABEL_SUFFIXES",
    "OTHER_LABEL_SUFFIXES",
    "LabelReader",
    "MadeLabel",
    "brightness_change",
    "label_files",
    "label_suffixes",
    "read_label",
    "read_made_label",
    "read_origin",
    "write_label",
]

LABEL_SUFFIXES = (".png",)
"""How the names of label maps of images end."""

OTHER_LABEL_SUFFIXES = (*HDF5_SUFFIXES, *NIFTI_SUFFIXES, *TIFF_SUFFIXES, VOLUME_SUFFIX)
"""How those end that are looked for in a folder without a PNG."""

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


class LabelReader:
    """Reads the label maps of one data set as :func:`read_label` does, and compares their palettes.

    Args:
        label_map: what the values or colours of the masks mean; by default they are classes.
        ignore_index: what ignored pixels become.

    Raises:
        SourceFileError: when called, an index has one colour in this file and another in an earlier
            one. Not with a label map, which says what is meant.
    """

    def __init__(self, label_map: LabelMap | None = None, ignore_index: int = 255) -> None:
        self._label_map = label_map
        self._ignore_index = ignore_index
        self._palettes = Palettes(ignore_index)

    def __call__(self, path: str | os.PathLike[str]) -> np.ndarray[Any, Any]:
        """The classes ``(H, W)`` of a label file, or ``(D, H, W)`` of a volume's."""
        if not _is_png(path):
            return _other(path, self._label_map, self._ignore_index)
        with opened_label(path) as (image, bits):
            if self._label_map is not None:
                return _mapped(path, image, bits, self._label_map, self._ignore_index)
            values = _values(path, image, bits)
            self._palettes.check(path, image, values)
            return values


def label_files(
    folder: str | os.PathLike[str],
    ids: IdList | Sequence[str],
    *,
    label_map: LabelMap | None = None,
    ignore_index: int = 255,
    naming: Naming | None = None,
) -> LazySequence[Any]:
    """The label maps of ``ids`` in ``folder``, each read when it is asked for.

    Args:
        folder: where the labels lie.
        ids: the images' ids, or the list that they stand in.
        label_map: what the values or colours of the masks mean; by default they are classes.
        ignore_index: what a label map's ignored pixels become.
        naming: how the names of photos and masks end; by default as known data sets have it.

    Raises:
        SourceFileError: at once, for ids without a label; later, as :func:`read_label`, or where an
            index has another colour than in an earlier file.
    """
    paths = find_files(folder, ids, label_suffixes(folder), "label", naming or Naming())
    return LazySequence(LabelReader(label_map, ignore_index), paths)


def label_suffixes(folder: str | os.PathLike[str]) -> tuple[str, ...]:
    """How the names of the labels in ``folder`` end: PNG, or where there is none any other kind."""
    return suffixes_in(folder, LABEL_SUFFIXES, OTHER_LABEL_SUFFIXES)


def read_label(
    path: str | os.PathLike[str],
    label_map: LabelMap | None = None,
    ignore_index: int = 255,
) -> np.ndarray[Any, Any]:
    """Read class indices ``(H, W)``, or ``(D, H, W)`` of a volume: uint8, or int32 where larger.

    PNG: palette files (mode P) give their indices, and their colours where a label map asks for
    these; grey ones of 1, 2, 4, 8 and 16 bits give their values. All checksums of the file are
    compared. Palettes in which the colours of PASCAL VOC stand at other indices are warned of.
    Also the array ``label`` of an ``.h5`` or ``.npz``, NIfTI with its axes reversed, and ``.tif``
    of one band; these give numbers and no colours.

    Args:
        path: the file.
        label_map: what its values or colours mean; by default they are classes.
        ignore_index: what a label map's ignored pixels become.

    Raises:
        SourceFileError: unreadable, damaged, an image of colours without a label map for these, or
            not whole numbers.
        LabelError: a value or colour that the label map refuses; names the file.
        OptionError: a label map of colours for a file of numbers.
        ShapeError: neither an image nor a volume.
    """
    if not _is_png(path):
        return _other(path, label_map, ignore_index)
    with opened_label(path) as (image, bits):
        if label_map is not None:
            return _mapped(path, image, bits, label_map, ignore_index)
        values = _values(path, image, bits)
        warn_of_moved_colours(path, image, values)
        return values


def read_made_label(path: str | os.PathLike[str]) -> MadeLabel:
    """Read a label and what :func:`write_label` stored beside it; empty where that is nothing.

    Raises:
        SourceFileError: as for :func:`read_label`.
    """
    if Path(path).suffix not in LABEL_SUFFIXES:
        return MadeLabel(read_other_label(Path(path)), *read_notes(Path(path)))
    with opened_label(path) as (image, bits):
        values = _values(path, image, bits)
        return MadeLabel(values, _text(image, _ORIGIN), _text(image, _READ))


def brightness_change(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """A class of a palette file, and what code that reads it with ``.convert("L")`` makes of it.

    None where that code reads the classes as they are, and where the file cannot be read.
    """
    try:
        with opened_label(path) as (image, bits):
            if image.mode != "P":
                return None
            values, seen = _values(path, image, bits), np.array(image.convert("L"))
    except SourceFileError:
        return None
    changed = np.argwhere(values != seen)
    if not len(changed):
        return None
    place = tuple(changed[0])
    return int(values[place]), int(seen[place])


def write_label(
    path: str | os.PathLike[str],
    labels: Any,
    *,
    origin: str = "",
    read: str = "",
    palette: bytes | None = None,
    grey: int | None = None,
    like: str | os.PathLike[str] | None = None,
) -> None:
    """Write class indices as a PNG, those of a volume as an array, all of it or nothing.

    Args:
        path: the file; its folder is made when missing. A volume's ends in ``.npz`` and holds the
            array ``label``, or in ``.nii.gz``.
        labels: ``(H, W)`` or ``(D, H, W)`` integers. uint8 gives mode P with the VOC palette; a
            wider dtype, which :func:`conformal_plugin.filter` returns for more than 255 classes, a
            16-bit grey file.
        origin: what it was made with, a text that is stored in the file and that
            :func:`read_origin` gives back.
        read: what was read for it, a text that is stored, too.
        palette: 256 RGB colours of a PNG instead of VOC's, 768 bytes.
        grey: 8 or 16, for a grey PNG of so many bits instead of one with a palette.
        like: a NIfTI image, whose place in space that of a volume in NIfTI is.

    Raises:
        InputTypeError: not integers.
        ShapeError: another number of dimensions, or without a pixel.
        SourceFileError: a volume whose name ends in something else, or a NIfTI one without
            ``like``.
        LabelError: values that 16 bits without a sign, or 8 where these are asked for, do not hold.
        OptionError: another number of bits.
    """
    values = np.asarray(labels)
    if values.dtype.kind not in "iu":
        raise InputTypeError(f"labels must be integers to be written as PNG, got {values.dtype}")
    if values.ndim == 3 and values.size:
        write_volume(Path(path), values, (origin, read), None if like is None else Path(like))
        return
    if values.ndim != 2 or values.size == 0:
        raise ShapeError(f"labels must have shape (H, W) to be written as PNG, got {values.shape}")
    if grey not in (None, 8, 16):
        raise OptionError(f"grey files have 8 or 16 bits, got {grey}")
    if values.dtype != np.uint8 or grey == 16:
        most = 255 if grey == 8 else 65535
        low, high = int(values.min()), int(values.max())
        if low < 0 or high > most:
            raise LabelError(
                f"a PNG of {8 if grey == 8 else 16} bits holds labels 0 ... {most}, got {low} ... "
                f"{high}; choose an ignore_index in that range, {most} for instance"
            )
        values = values.astype(np.uint8 if grey == 8 else np.uint16)
    image = pillow("Image").fromarray(values)
    if values.dtype == np.uint8 and grey is None:
        image.putpalette(voc_palette() if palette is None else palette)
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
    if Path(path).suffix not in LABEL_SUFFIXES:
        return read_notes(Path(path))[0]
    with opened_label(path) as (image, _):
        return _text(image, _ORIGIN)


def _is_png(path: str | os.PathLike[str]) -> bool:
    return Path(path).suffix.lower() in LABEL_SUFFIXES and reader_of(Path(path)) is None


def _other(
    path: str | os.PathLike[str], label_map: LabelMap | None, ignore_index: int
) -> np.ndarray[Any, Any]:
    """A label that is no PNG, whose numbers a label map may read."""
    values = read_other_label(Path(path))
    if label_map is None:
        return values
    if label_map.has_colours:
        raise OptionError(
            f"the label map {label_map} is of colours, and the label {path} holds numbers; pass "
            f"one from these numbers to classes"
        )
    try:
        return np.asarray(label_map(values, ignore_index))
    except LabelError as error:
        raise LabelError(f"the label {path}: {error}") from error


def _mapped(
    path: str | os.PathLike[str], image: Any, bits: int, label_map: LabelMap, ignore_index: int
) -> np.ndarray[Any, Any]:
    try:
        if label_map.has_colours:
            pixels = np.array(image.convert("RGB"))
            return np.asarray(label_map.of_colours(pixels, ignore_index))
        return np.asarray(label_map(_numbers(path, image, bits), ignore_index))
    except LabelError as error:
        raise LabelError(f"the label {path}: {error}") from error


def _numbers(path: str | os.PathLike[str], image: Any, bits: int) -> np.ndarray[Any, Any]:
    """The values of a label, also of a grey one that was saved in colour."""
    if image.mode in ("RGB", "RGBA"):
        pixels = np.array(image)
        red, green, blue = (pixels[..., channel] for channel in range(3))
        if np.array_equal(red, green) and np.array_equal(red, blue):
            return red
    return _values(path, image, bits)


def _values(path: str | os.PathLike[str], image: Any, bits: int) -> np.ndarray[Any, Any]:
    if image.mode not in ("P", *_GREY, *_WIDE):
        raise SourceFileError(
            f"the label {path} has colours (mode {image.mode}) where class indices were "
            f"expected: a label is a palette PNG (mode P) or a grey one whose pixel values are "
            f"classes; say which colour is which class with a label map (--label-map on the "
            f"command line), voc-colours for those of PASCAL VOC"
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
