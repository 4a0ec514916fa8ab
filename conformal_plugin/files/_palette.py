"""The colours in which PASCAL VOC shows class indices."""

from __future__ import annotations

__all__ = ["voc_palette"]


def voc_palette() -> bytes:
    """256 RGB colours, 768 bytes, by the definition of the VOC development kit.

    The bits of an index are dealt to red, green and blue in turn, lowest bit first, and each
    colour collects its bits from its highest down.
    """
    colours = bytearray(3 * 256)
    for index in range(256):
        for bit in range(8):
            if index >> bit & 1:
                colours[3 * index + bit % 3] |= 0x80 >> bit // 3
    return bytes(colours)
