"""The fewest observations that can show something."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["fewest_observations"]

_MOST = 2**20


def fewest_observations(enough: Callable[[int], bool]) -> int | None:
    """The smallest number from 1 that is enough; None where a million are not.

    Args:
        enough: whether a number is; true of all above one that is.
    """
    high = 1
    while not enough(high):
        high *= 2
        if high > _MOST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
