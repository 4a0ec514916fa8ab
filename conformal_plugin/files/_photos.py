"""Reading photos as the training code does: pixels as stored, red, green, blue."""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from conformal_plugin.files._images import opened_photo

__all__ = ["PHOTO_SUFFIXES", "read_photo"]

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".JPG", ".JPEG", ".PNG")
"""How the names of photos end."""


def read_photo(path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Read ``(H, W, 3)`` uint8; grey and palette photos become RGB.

    A camera's note that the photo is to be turned (EXIF) is not followed, since masks are drawn on
    the pixels as stored and training code reads these.

    Raises:
        SourceFileError: unreadable, cut off, or a PNG whose checksums do not fit.
    """
    with opened_photo(path) as image:
        return np.array(image.convert("RGB"))
