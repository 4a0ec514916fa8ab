"""Volumes, and images of other values than photos have, as 8 bits by a window that is named."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from conformal_plugin.errors import OptionError, ShapeError, SourceFileError
from conformal_plugin.files._decoding import decoding
from conformal_plugin.files._hdf5 import HDF5_SUFFIXES, hdf5_array
from conformal_plugin.files._memory import LARGEST_MAP_BYTES
from conformal_plugin.files._nifti import NIFTI_SUFFIXES, nifti_array
from conformal_plugin.files._readers import reader_of

__all__ = ["Window", "read_in_window"]

_IMAGE = "image"
_REMEDY = "write it again, or take it off the id list"


@dataclass(frozen=True)
class Window:
    """Which value is black and which is white; those between are grey, those beyond are cut off.

    Attributes:
        low, high: values, or percentages of each image's or volume's own.
        percent: whether they are percentages.
    """

    low: float
    high: float
    percent: bool = False

    @classmethod
    def of(cls, texts: Sequence[str]) -> Window:
        """As it is typed: ``-160 240``, or ``1% 99%``.

        Raises:
            OptionError: not two numbers, the first below the second.
        """
        percent = [text.endswith("%") for text in texts]
        try:
            low, high = (float(text.removesuffix("%")) for text in texts)
        except ValueError:
            low = high = math.nan
        between = not percent[0] or (low >= 0 and high <= 100)
        if not (low < high and math.isfinite(high - low) and len(set(percent)) == 1 and between):
            raise OptionError(
                f"a window is the value that is black and the higher one that is white, such as "
                f"-160 240, or two percentages of each volume's own values, such as 1% 99%; got "
                f"{' '.join(texts)}"
            )
        return cls(low, high, percent[0])

    def __str__(self) -> str:
        sign = "%" if self.percent else ""
        return f"{self.low:g}{sign} {self.high:g}{sign}"


def read_in_window(path: str | os.PathLike[str], window: Window) -> npt.NDArray[np.uint8]:
    """``(H, W, 3)`` of grey values, or ``(D, H, W, 3)`` of a volume, each channel the same.

    Of NIfTI ``(z, y, x)``, of ``.h5`` the array ``image``, of a reader of the user's what it gives.

    Args:
        path: the file.
        window: from its values to 8 bits.

    Raises:
        SourceFileError: unreadable, values that are NaN or infinite, or all alike where the window
            is of percentages.
        ShapeError: another kind of file, or other axes.
    """
    path = Path(path)
    values = _values(path)
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise ShapeError(
            f"the image {path} has shape {values.shape}; in a window (H, W) or (D, H, W) is read: "
            f"save the volume that is meant"
        )
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise SourceFileError(
            f"the image {path} holds values that are NaN or infinite; set them to the one that is "
            f"black"
        )
    low, high = window.low, window.high
    if window.percent:
        low, high = np.percentile(values, (low, high)).tolist()
        if not low < high:
            raise SourceFileError(
                f"{window} of the values of the image {path} are both {low:g}, which is no window; "
                f"name two values, or take it off the id list"
            )
    grey = np.empty(values.shape, np.uint8)
    rows = values.reshape(-1, values.shape[-1])
    of_rows = grey.reshape(rows.shape)
    for top in range(0, len(rows), _ROWS):
        some = rows[top : top + _ROWS].astype(np.float32)
        of_rows[top : top + _ROWS] = np.rint(np.clip((some - low) / (high - low), 0, 1) * 255)
    return np.broadcast_to(grey[..., None], (*grey.shape, 3))


_ROWS = 2**12
"""How many rows become floating-point numbers at once."""


def _values(path: Path) -> np.ndarray[Any, Any]:
    read = reader_of(path)
    if read is not None:
        with decoding(f"the image {path}", _REMEDY):
            return np.ascontiguousarray(read(path, "photo"))
    if path.name.endswith(NIFTI_SUFFIXES):
        return np.ascontiguousarray(nifti_array(path, LARGEST_MAP_BYTES))
    if path.name.endswith(HDF5_SUFFIXES):
        return np.ascontiguousarray(hdf5_array(path, None, _IMAGE, LARGEST_MAP_BYTES))
    raise ShapeError(
        f"a window is for NIfTI, HDF5 and what a reader of yours gives, and {path} is none of "
        f"these; leave it out"
    )
