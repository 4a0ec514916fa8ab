"""Reading photos as the training code does: pixels as stored, red, green, blue."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from conformal_plugin.files._images import opened_photo, orientation
from conformal_plugin.files._photo_values import rgb

__all__ = ["PHOTO_SUFFIXES", "photo_orientation", "read_photo"]

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
"""How the names of photos end."""


def read_photo(path: str | os.PathLike[str], *, follow_exif: bool = False) -> npt.NDArray[np.uint8]:
    """Read ``(H, W, 3)`` uint8; grey and palette photos become RGB, 16 bits become 8.

    Args:
        path: the file.
        follow_exif: turn the photo as its camera noted (EXIF). By default the pixels are taken as
            stored, since training code reads these.

    Raises:
        SourceFileError: unreadable, cut off, a PNG whose checksums do not fit, or values that
            cannot be scaled to 8 bits without a guess.
    """
    with opened_photo(path) as image:
        return rgb(image, path, follow_exif)


def photo_orientation(path: str | os.PathLike[str]) -> int:
    """How a photo's EXIF says that it is to be turned: 1 for not at all, else 2 ... 8.

    Raises:
        SourceFileError: unreadable.
    """
    with opened_photo(path) as image:
        return orientation(image)
