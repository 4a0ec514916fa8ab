"""Masks as lengths of runs, as annotation tools keep them: not painted, painted, and so on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["mask_of_runs", "runs_of_mask"]

_Array = np.ndarray[Any, Any]


def runs_of_mask(mask: _Array) -> _Array:
    """Lengths of the runs of equal values along the rows, the first one of False, maybe 0."""
    flat = mask.ravel()
    edges = np.flatnonzero(np.diff(flat)) + 1
    places = np.concatenate([[0], edges, [flat.size]])
    lengths = np.diff(places)
    return np.concatenate([[0], lengths]) if flat.size and flat[0] else lengths


def mask_of_runs(runs: Sequence[int] | _Array, size: tuple[int, int]) -> _Array:
    """The mask ``(H, W)`` of such lengths.

    Raises:
        ValueError: they do not fill it.
    """
    lengths = np.asarray(runs, dtype=np.int64)
    if lengths.size == 0 or lengths.min() < 0 or int(lengths.sum()) != size[0] * size[1]:
        raise ValueError(f"runs of {int(lengths.sum())} pixels do not fill {size[1]} x {size[0]}")
    found: _Array = np.repeat(np.arange(lengths.size) % 2 == 1, lengths).reshape(size)
    return found
