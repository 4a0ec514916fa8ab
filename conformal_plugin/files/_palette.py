"""The colours in which PASCAL VOC shows class indices, as a palette."""

from __future__ import annotations

from conformal_plugin.scores import voc_colour

__all__ = ["voc_palette"]


def voc_palette() -> bytes:
    """256 RGB colours, 768 bytes, by the definition of the VOC development kit."""
    return b"".join(bytes(voc_colour(index)) for index in range(256))
