"""Label Studio's packed form of a brush mask: runs of the RGBA bytes of a picture, bit by bit.

A header (32 bits: number of bytes; 5: bits of a value less one; four times 4: bits of the four
kinds of lengths less one), then pieces: one bit whether one value is repeated, two bits for the
kind of length, the length less one, and the value, or as many values as that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from conformal_plugin.exchange._runs import runs_of_mask

__all__ = ["packed", "unpacked"]

_CHANNELS: Final = 4
_VALUE_BITS: Final = 8
_LENGTH_BITS: Final = (3, 4, 8, 16)
_PAINTED: Final = 255
_HALF: Final = 128

_Array = np.ndarray[Any, Any]


def packed(mask: _Array) -> list[int]:
    """A mask ``(H, W)`` as Label Studio keeps it: a list of bytes."""
    lengths = runs_of_mask(mask) * _CHANNELS
    values = np.where(np.arange(lengths.size) % 2 == 1, _PAINTED, 0)
    longest = 2 ** _LENGTH_BITS[-1]
    pieces = np.maximum(1, -(-lengths // longest)) * (lengths > 0)
    values = np.repeat(values, pieces)
    cut = np.full(values.size, longest)
    ends = np.cumsum(pieces)[pieces > 0] - 1
    cut[ends] = (lengths - (pieces - 1) * longest)[pieces > 0]
    kinds = np.searchsorted([2**bits for bits in _LENGTH_BITS], cut)
    length_bits = np.array(_LENGTH_BITS)[kinds]
    numbers = (((4 + kinds) << length_bits | cut - 1) << _VALUE_BITS) | values
    header = [
        (mask.size * _CHANNELS, 32),
        (_VALUE_BITS - 1, 5),
        *((b - 1, 4) for b in _LENGTH_BITS),
    ]
    numbers = np.concatenate([[number for number, _ in header], numbers])
    widths = np.concatenate([[bits for _, bits in header], 3 + length_bits + _VALUE_BITS])
    packed_bits: list[int] = np.packbits(_bits(numbers, widths)).tolist()
    return packed_bits


def unpacked(content: Sequence[int], size: tuple[int, int]) -> _Array:
    """The mask ``(H, W)`` of such a list: where the picture is more opaque than not.

    Raises:
        ValueError: it is none of that size.
    """
    reader = _Bits(content)
    total = reader.take(32)
    if total != size[0] * size[1] * _CHANNELS:
        raise ValueError(f"it holds {total} bytes, and {size[1]} x {size[0]} pixels have 4 each")
    value_bits = reader.take(5) + 1
    length_bits = [reader.take(4) + 1 for _ in range(4)]
    out = np.zeros(total, dtype=np.uint32)
    place = 0
    while place < total:
        repeated = reader.take(1)
        length = 1 + reader.take(length_bits[reader.take(2)])
        end = place + length
        if end > total:
            raise ValueError("its runs are longer than the picture")
        if repeated:
            out[place:end] = reader.take(value_bits)
        else:
            out[place:end] = [reader.take(value_bits) for _ in range(length)]
        place = end
    found: _Array = out.reshape(*size, _CHANNELS)[..., -1] >= _HALF
    return found


def _bits(numbers: _Array, widths: _Array) -> _Array:
    """Numbers one after the other, each in so many bits, the highest first."""
    starts = np.cumsum(widths) - widths
    within = np.arange(int(widths.sum())) - np.repeat(starts, widths)
    shifts = np.repeat(widths, widths) - 1 - within
    found: _Array = (np.repeat(numbers, widths) >> shifts & 1).astype(np.uint8)
    return found


class _Bits:
    """Numbers from bytes, the highest bit first."""

    def __init__(self, content: Sequence[int]) -> None:
        self._content = bytes(content)  # ValueError for what is no byte
        self._place = 0

    def take(self, width: int) -> int:
        """The number in the next bits."""
        end = self._place + width
        if end > 8 * len(self._content):
            raise ValueError("it ends too early")
        first, last = self._place // 8, -(-end // 8)
        window = int.from_bytes(self._content[first:last], "big")
        self._place = end
        return window >> (8 * last - end) & ((1 << width) - 1)
