"""Photos, true masks, raw and kept labels as small pictures inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformal_plugin._extras import optional

__all__ = ["Example", "label_picture", "photo_picture"]

_LONGEST = 320
_ENOUGH = 8 * _LONGEST
"""Rows and columns that are painted; colours of a pixel take some thirty bytes."""
_STRIPES = ((255, 255, 255), (168, 168, 168))


@dataclass(frozen=True)
class Example:
    """One image of the report.

    Attributes:
        name: its id.
        rank: ``"best"``, ``"median"`` or ``"worst"``.
        right: share of its labelled pixels whose kept label is right.
        pictures: what is shown, under its name, as ``data:`` addresses.
    """

    name: str
    rank: str
    right: float
    pictures: Mapping[str, str]


def photo_picture(photo: np.ndarray[Any, Any]) -> str:
    """A photo ``(H, W, 3)`` uint8 as a small JPEG."""
    image = _pillow().fromarray(photo)
    image.thumbnail((_LONGEST, _LONGEST))
    return _address(image, "JPEG", quality=80)


def label_picture(labels: np.ndarray[Any, Any], colours: Mapping[int, tuple[int, int, int]]) -> str:
    """A label map ``(H, W)`` in colours; what has none, such as dropped pixels, in grey stripes."""
    step = max(1, max(labels.shape) // _ENOUGH)
    labels = labels[::step, ::step]
    painted = np.empty((*labels.shape, 3), dtype=np.uint8)
    y, x = np.indices(labels.shape)
    painted[...] = np.array(_STRIPES, dtype=np.uint8)[(x + y) // 4 % 2]
    for c, colour in colours.items():
        painted[labels == c] = colour
    image = _pillow().fromarray(painted)
    scale = _LONGEST / max(image.size)
    size = tuple(max(1, round(side * scale)) for side in image.size)
    if scale < 1 or min(size) < _LONGEST:
        image = image.resize(size, 0)  # nearest neighbour: no colours in between
    return _address(image.quantize(64), "PNG", optimize=True)


def _pillow() -> Any:
    return optional("PIL.Image", "pillow", "the pictures of a report")


def _address(image: Any, kind: str, **options: Any) -> str:
    content = io.BytesIO()
    image.save(content, kind, **options)
    encoded = base64.b64encode(content.getvalue()).decode("ascii")
    return f"data:image/{kind.lower()};base64,{encoded}"
