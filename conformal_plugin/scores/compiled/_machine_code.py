"""How the loops are compiled, and what they see of an array."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

__all__ = ["compiled", "flat"]

Array = np.ndarray[Any, Any]


def compiled(function: Callable[..., Any]) -> Any:
    """Compile when first called, without Python's lock, and keep the code on disk if possible."""
    try:
        return numba.njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder that can be written to
        return numba.njit(nogil=True)(function)


def flat(view: Array) -> tuple[Array, tuple[int, ...]]:
    """The memory that a view reaches, as one dimension from its first element, and its strides.

    Loops over neighbours in one dimension are compiled to vector instructions, which those over a
    view of unknown strides are not. Strides are counted in elements and none is negative.
    """
    steps = tuple(stride // view.itemsize for stride in view.strides)
    reach = 1 + sum((length - 1) * step for length, step in zip(view.shape, steps))
    line: Array = np.lib.stride_tricks.as_strided(view, (reach,), (view.itemsize,))
    return line, steps
