"""A PNG's chunks against their checksums, which decoders pass over where the pixels lie."""

from __future__ import annotations

import struct
import zlib

__all__ = ["PNG_SIGNATURE", "check_png"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_HEAD = struct.Struct(">I4s")
_CHECK = struct.Struct(">I")


def check_png(content: bytes) -> int:
    """Compare every chunk with its CRC-32; gives the bits of a sample.

    Raises:
        ValueError: no PNG, cut off, or damaged.
    """
    if not content.startswith(PNG_SIGNATURE):
        raise ValueError("this is no PNG, whatever its name says")
    view, place, kind = memoryview(content), len(PNG_SIGNATURE), b""
    while kind != b"IEND":
        first = place == len(PNG_SIGNATURE)
        if place + _HEAD.size > len(content):
            raise ValueError("it is cut off")
        length, kind = _HEAD.unpack_from(content, place)
        end = place + _HEAD.size + length
        if end + _CHECK.size > len(content):
            raise ValueError("it is cut off, or the length of a chunk is damaged")
        # The checksum covers the chunk's name and content.
        if zlib.crc32(view[place + 4 : end]) != _CHECK.unpack_from(content, end)[0]:
            raise ValueError(f"the checksum of its chunk {kind!r} does not fit: it is damaged")
        if first and (kind, length) != (b"IHDR", 13):
            raise ValueError("it does not begin with a PNG's header")
        place = end + _CHECK.size
    # Signature, length, name, width, height; then the bits of a sample.
    return content[24]
