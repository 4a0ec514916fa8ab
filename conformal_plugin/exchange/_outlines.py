"""Polygons and boxes as masks: a pixel is inside where its middle is.

Pillow's polygons hold their outline, too: of a square of 10 x 10 pixels 121. By the middle of the
pixel it is 100, as in the masks that CVAT makes of it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

__all__ = ["mask_of_outline", "outline_of_box"]

_Array = np.ndarray[Any, Any]


def mask_of_outline(points: _Array, size: tuple[int, int]) -> _Array:
    """The mask ``(H, W)`` of a polygon; where it crosses itself, twice inside is outside.

    Args:
        points: the corners ``(N, 2)``, x before y, in pixels from the upper left corner of the
            photo; they may lie outside.
        size: ``(H, W)``.
    """
    height, width = size
    middles = np.arange(height) + 0.5
    # How many edges a row crosses from one pixel to the next, edge after edge.
    crossed = np.zeros((height, width + 1), dtype=np.int64)
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0)):
        rows = np.flatnonzero((y0 <= middles) != (y1 <= middles))
        if rows.size:
            at = x0 + (middles[rows] - y0) / (y1 - y0) * (x1 - x0)
            crossed[rows, np.clip(np.ceil(at - 0.5), 0, width).astype(np.int64)] += 1
    inside: _Array = np.cumsum(crossed, axis=1)[:, :width] % 2 == 1
    return inside


def outline_of_box(left: float, top: float, right: float, bottom: float, turned: float) -> _Array:
    """The corners of a box that is turned clockwise about its middle, by degrees."""
    middle = np.array([(left + right) / 2, (top + bottom) / 2])
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]]) - middle
    cos, sin = math.cos(math.radians(turned)), math.sin(math.radians(turned))
    turned_corners: _Array = middle + corners @ np.array([[cos, sin], [-sin, cos]])
    return turned_corners
