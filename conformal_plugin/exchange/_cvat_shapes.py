"""The shapes in *CVAT for images 1.1* that cover pixels, as masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from conformal_plugin.exchange._outlines import mask_of_outline, outline_of_box
from conformal_plugin.exchange._runs import mask_of_runs

__all__ = ["SHAPES", "UNREAD", "mask_of_shape", "whole_number"]

SHAPES: Final = ("mask", "polygon", "box")
UNREAD: Final = ("polyline", "points", "ellipse", "cuboid", "skeleton", "track")
"""Shapes that cover none, or in a way that CVAT's own masks tell better."""

_FARTHEST: Final = 1e6
"""Pixels from a photo's corner."""

_Attributes = Mapping[str, str]
_Array = np.ndarray[Any, Any]


def mask_of_shape(name: str, attributes: _Attributes, size: tuple[int, int]) -> _Array:
    """The mask ``(H, W)`` of one of :data:`SHAPES`.

    Raises:
        ValueError: attributes that CVAT does not write.
    """
    if name == "mask":
        return _of_runs(attributes, size)
    if name == "polygon":
        pairs = [_numbers(pair.split(",")) for pair in _text(attributes, "points").split(";")]
        if any(len(pair) != 2 for pair in pairs):
            raise ValueError("its points are no pairs")
        corners = np.array(pairs)
    else:
        sides = [_text(attributes, side) for side in ("xtl", "ytl", "xbr", "ybr")]
        left, top, right, bottom, turned = _numbers([*sides, attributes.get("rotation", "0")])
        corners = outline_of_box(left, top, right, bottom, turned)
    return mask_of_outline(corners, size)


def whole_number(attributes: _Attributes, key: str, default: int | None = None) -> int:
    """An attribute as a number.

    Raises:
        ValueError: another text, or none without a default.
    """
    text = attributes.get(key, "" if default is None else str(default))
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{key} is no whole number") from None


def _of_runs(attributes: _Attributes, size: tuple[int, int]) -> _Array:
    left, top, width, height = (
        whole_number(attributes, key) for key in ("left", "top", "width", "height")
    )
    if min(left, top) < 0 or left + width > size[1] or top + height > size[0]:
        raise ValueError("it leaves the photo")
    whole = np.zeros(size, dtype=bool)
    runs: Any = np.array(_text(attributes, "rle").split(","), dtype=np.int64)
    whole[top : top + height, left : left + width] = mask_of_runs(runs, (height, width))
    return whole


def _numbers(texts: list[str]) -> list[float]:
    values = [float(text) for text in texts]
    if not all(abs(value) < _FARTHEST for value in values):  # and no NaN
        raise ValueError("it is far from the photo")
    return values


def _text(attributes: _Attributes, key: str) -> str:
    if key not in attributes:
        raise ValueError(f"it lacks its {key}")
    return attributes[key]
