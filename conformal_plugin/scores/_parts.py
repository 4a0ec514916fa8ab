"""Maps that are read part by part, so that no more than a part of one is in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

__all__ = ["PART_BYTES", "ScoreParts"]

PART_BYTES: Final = 2**26
"""How much of a map is in memory at once, where its file can be read in parts of any size."""


class ScoreParts(ABC):
    """Class scores ``(K, H, W)`` or ``(K, D, H, W)``, read in parts along the axis after K.

    :func:`conformal_plugin.calibrate`, :func:`conformal_plugin.filter` and
    :func:`conformal_plugin.evaluate`, and what goes by their inputs, take one in place of an array,
    alone or as an item of an iterable; the results are the same to the bit.

    Attributes:
        shape: of the scores.
        dtype: of the scores, as NumPy names it.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def ndim(self) -> int:
        """Three, or four of a volume."""
        return len(self.shape)

    @property
    def nbytes(self) -> int:
        """What all scores together would take in memory."""
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize

    def whole(self) -> np.ndarray[Any, Any]:
        """All scores at once, where what is asked of a pixel depends on all others."""
        scores = np.empty(self.shape, self.dtype)
        for rows, part in self.placed():
            scores[:, rows] = part
        return scores

    def placed(self) -> Iterator[tuple[slice, np.ndarray[Any, Any]]]:
        """Where each part lies on the axis after K, and the part, as arrays are taken.

        That is ``(K, h, W)`` of an image, and a batch of one, ``(1, K, d, H, W)``, of a volume.
        """
        top = 0
        for part in self.parts():
            below = top + part.shape[1]
            yield slice(top, below), part[None] if part.ndim == 4 else part
            top = below

    @abstractmethod
    def parts(self) -> Iterator[np.ndarray[Any, Any]]:
        """Arrays ``(K, h, W)`` or ``(K, d, H, W)`` from first to last, of any h or d."""
