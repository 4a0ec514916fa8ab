"""Palettes of label files: an index that has two colours is no class."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

from conformal_plugin.errors import SourceFileError
from conformal_plugin.scores import voc_colour

__all__ = ["Palettes", "used_colours", "warn_of_moved_colours"]

_REMEDY = (
    "pass the label map voc-colours, or one of your own from colours to classes (--label-map on "
    "the command line); or the label map indices, where the numbers are classes whatever their "
    "colours"
)

Colour = tuple[int, int, int]


class Palettes:
    """Compares the palettes of the label files of one data set as they go by.

    Args:
        ignore_index: an index whose colour says nothing.
    """

    def __init__(self, ignore_index: int = 255) -> None:
        self._ignore_index = ignore_index
        self._first: dict[int, tuple[Colour, str]] = {}
        self._warned = False

    def check(self, path: str | os.PathLike[str], image: Any, values: np.ndarray[Any, Any]) -> None:
        """Compare the colours of the indices that a file uses.

        Raises:
            SourceFileError: an index has another colour than in an earlier file.
        """
        for index, colour in used_colours(image, values).items():
            first, where = self._first.setdefault(index, (colour, str(path)))
            if colour != first and index != self._ignore_index:
                raise SourceFileError(
                    f"the index {index} has the colour {_hex(colour)} in the label {path} and "
                    f"{_hex(first)} in {where}: programs that write palettes anew number the "
                    f"colours as they please, so that no index is a class; {_REMEDY}"
                )
        if not self._warned:
            self._warned = warn_of_moved_colours(path, image, values)


def used_colours(image: Any, values: np.ndarray[Any, Any]) -> dict[int, Colour]:
    """The colours of the indices that a palette image holds; empty for other images."""
    palette = image.getpalette("RGB") if image.mode == "P" else None
    if palette is None:
        return {}
    used = np.flatnonzero(np.bincount(values.ravel(), minlength=256)).tolist()
    return {
        index: (palette[3 * index], palette[3 * index + 1], palette[3 * index + 2])
        for index in used
        if 3 * index + 2 < len(palette)
    }


def warn_of_moved_colours(
    path: str | os.PathLike[str], image: Any, values: np.ndarray[Any, Any]
) -> bool:
    """Say so where all colours are those of PASCAL VOC, and stand at other indices than there."""
    used = used_colours(image, values)
    of_voc = {voc_colour(index): index for index in (*range(21), 255)}
    moved = {index: of_voc.get(colour) for index, colour in used.items()}
    if None in moved.values() or len(set(moved.values())) < max(len(moved), 2):
        return False
    if all(index == theirs for index, theirs in moved.items()):
        return False
    index = next(index for index, theirs in moved.items() if index != theirs)
    warnings.warn(
        f"the label {path} has the colours of PASCAL VOC at other indices: index {index} has that "
        f"of class {moved[index]}. A program that writes palettes anew, as pngquant does, numbers "
        f"the colours as it pleases; {_REMEDY}",
        stacklevel=3,
    )
    return True


def _hex(colour: Colour) -> str:
    return f"#{bytes(colour).hex()}"
