"""From what was read of a photo to red, green and blue of 8 bits, or a refusal."""

from __future__ import annotations

import os
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from conformal_plugin.errors import SourceFileError
from conformal_plugin.files._images import pillow

__all__ = ["of_8_bits", "rgb", "turned"]

_SAMPLES, _PHOTOMETRIC, _RGB = 277, 262, 2  # tags of TIFF
_FEWEST: Final = 2**12
"""What a photo that uses its 16 bits reaches; 10 and 12 bits of a sensor or scanner do not."""


def rgb(image: Any, path: str | os.PathLike[str], follow_exif: bool) -> npt.NDArray[np.uint8]:
    """``(H, W, 3)`` of an image, grey of 16 bits scaled to 8.

    Raises:
        SourceFileError: floating-point or 32-bit values, 16 bits of which few are used, several
            images in one file, or bands that are no colours.
    """
    if image.format == "TIFF":
        _refuse_bands(image, path)
        image.load()  # which has turned it; old releases keep the tag
    elif follow_exif:
        image = pillow("ImageOps").exif_transpose(image)
    if image.mode == "F" or image.mode.startswith("I"):
        grey = of_8_bits(np.asarray(image), path)
        return np.repeat(grey[..., None], 3, axis=2)
    return np.array(image.convert("RGB"))


def _refuse_bands(image: Any, path: str | os.PathLike[str]) -> None:
    """Refuse a TIFF of which Pillow would take the first image, or the first band, alone."""
    if getattr(image, "n_frames", 1) > 1:
        raise SourceFileError(
            f"the photo {path} holds {image.n_frames} images; save the one that is meant, or the "
            f"bands that are red, green and blue"
        )
    samples = image.tag_v2.get(_SAMPLES, 1)
    if samples > len(image.getbands()) and image.tag_v2.get(_PHOTOMETRIC) != _RGB:
        raise SourceFileError(
            f"the photo {path} has {samples} bands, and no tag says that the first three are red, "
            f"green and blue; save these, or have a reader of yours choose them (--reader on the "
            f"command line)"
        )


def turned(photo: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """A photo turned as EXIF defines its orientations 1 ... 8."""
    if orientation > 4:
        photo = photo.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(photo[::rows, ::columns])


def of_8_bits(values: np.ndarray[Any, Any], path: str | os.PathLike[str]) -> npt.NDArray[np.uint8]:
    """Values of 8 bits as they are, of 16 without the lower half.

    Raises:
        SourceFileError: other values, or 16 bits of which few are used.
    """
    if values.dtype == np.uint8:
        return values
    low, high = values.min(), values.max()
    whole = values.dtype.kind in "iu" and low >= 0 and high < 2**16
    if whole and (high == 0 or high >= _FEWEST):
        return (values.astype(np.int64) >> 8).astype(np.uint8)
    held = "16-bit values" if whole else f"{values.dtype} values"
    raise SourceFileError(
        f"the photo {path} holds {held} from {low:g} to {high:g}; a photo has 8 bits a colour, or "
        f"uses all of 16: save it in 8 bits, scaled by one factor for all photos, such as "
        f"(values / {max(float(high), 1.0):g} * 255).astype(numpy.uint8)"
    )
