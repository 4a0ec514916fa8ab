"""Those of many numbers that lie in a small range, and how many lie above it."""

from __future__ import annotations

import numpy as np

from conformal_plugin.scores.compiled._machine_code import Array, compiled

__all__ = ["split"]

_BLOCK = 32


def split(numbers: Array, low: int, high: int) -> tuple[Array, int]:
    """The numbers from ``low`` to ``high``, in their order, and how many exceed ``high``.

    Args:
        numbers: integers ``(n,)``.
        low, high: of which few are expected to lie in between.
    """
    number = numbers.dtype.type
    above, within = _count(numbers, number(low), number(high))
    inside = np.empty(within, dtype=numbers.dtype)
    _collect(numbers, number(low), number(high), inside)
    return inside, above


@compiled
def _count(numbers, low, high):
    above = from_low = 0
    for i in range(len(numbers)):
        above += numbers[i] > high
        from_low += numbers[i] >= low
    return above, from_low - above


@compiled
def _collect(numbers, low, high, inside):
    end = 0
    for start in range(0, len(numbers), _BLOCK):
        block = numbers[start : start + _BLOCK]
        some = 0
        for i in range(len(block)):
            some += (block[i] >= low) & (block[i] <= high)
        if some == 0:
            continue
        for i in range(len(block)):
            if (block[i] >= low) & (block[i] <= high):
                inside[end] = block[i]
                end += 1
