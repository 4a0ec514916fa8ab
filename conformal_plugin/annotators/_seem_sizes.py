"""The sizes that SEEM sees a photo at, and that it is asked for scores at."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin._extras import optional
from conformal_plugin.annotators._protocol import Photo
from conformal_plugin.errors import OptionError

__all__ = ["LARGEST", "SHORT_SIDE", "asked_size", "long_side_of", "sized"]

SHORT_SIDE = 512
"""Pixels of the short side of the images that SEEM's demo sends in."""
LARGEST = 2**21
"""Pixels up to which SEEM is asked for scores at the photo's size.

It brings the masks of all its queries, 101 as configured, to that size in float32 before it adds
them up: 0.85 GB for the masks alone at this limit. Larger photos get scores of this many pixels,
brought to their size.
"""
_LARGEST_STRIDE = 512
"""A divisor above this is no stride of a backbone, but the one size that it takes."""


def long_side_of(model: Any, short_side: int, long_side: int | None) -> int | None:
    """The bound on the long side: the user's, and the model's where it takes one size alone.

    Raises:
        OptionError: sides that are none.
    """
    for name, side in (("short_side", short_side), ("long_side", long_side)):
        if side is not None and (isinstance(side, bool) or not isinstance(side, int) or side < 1):
            raise OptionError(f"{name} must be a whole number of pixels above 0, got {side!r}")
    divisor = int(getattr(model, "size_divisibility", 0))
    if divisor <= _LARGEST_STRIDE:
        return long_side
    return divisor if long_side is None else min(long_side, divisor)


def sized(photo: Photo, short_side: int, long_side: int | None) -> Tensor:
    """``(3, h, w)`` uint8, its short side at ``short_side``, its long within ``long_side``."""
    height, width = photo.shape[:2]
    side, bound = min(height, width), short_side
    if long_side is not None and short_side * max(height, width) > long_side * side:
        side, bound = max(height, width), long_side
    size = (max(1, bound * height // side), max(1, bound * width // side))
    pillow = optional("PIL.Image", "Pillow", "resizing photos for SEEM")
    image = pillow.fromarray(photo).resize(size[::-1], pillow.BICUBIC)
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


def asked_size(photo: Photo) -> tuple[int, int]:
    """Height and width of the scores that SEEM is asked for: the photo's, within ``LARGEST``."""
    height, width = photo.shape[:2]
    if height * width <= LARGEST:
        return height, width
    scale = math.sqrt(LARGEST / (height * width))
    return max(1, int(height * scale)), max(1, int(width * scale))
