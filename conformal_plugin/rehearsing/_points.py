"""Points of photos: where an encoder says something, and what a label map says there."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["Directions", "at_points"]

_NUMBERS: Final = 160


def at_points(array: npt.NDArray[Any], grid: tuple[int, int]) -> npt.NDArray[Any]:
    """What an array ``(..., H, W)`` holds at the centres of ``grid``, ``(..., h, w)``."""
    rows, columns = map(_centres, array.shape[-2:], grid)
    return array[..., rows[:, None], columns[None]]


class Directions(NamedTuple):
    """The directions in which features vary most, and how they are scaled along these.

    Attributes:
        mean, spread: of each feature.
        directions: ``(C, 160)``, or fewer where there are fewer features.
        size: what each is divided by: the root of how much it varies, so that those that vary less
            are brought up, and not to the same.
    """

    mean: Tensor
    spread: Tensor
    directions: Tensor
    size: Tensor

    @staticmethod
    def of(sample: Tensor) -> Directions:
        """Those of features ``(points, C)`` float32, without a look at any label."""
        mean, spread = sample.mean(0), sample.std(0) + 1e-6
        scaled = (sample - mean) / spread
        found = torch.linalg.eigh(scaled.T @ scaled / len(scaled)).eigenvectors[:, -_NUMBERS:]
        size = (scaled @ found).std(0).clamp_min(1e-3)
        return Directions(mean, spread, found, size.sqrt() * size.mean().sqrt())

    def along(self, features: Tensor) -> Tensor:
        """Features ``(points, C)`` along these, ``(points, 160)`` float16."""
        return (((features - self.mean) / self.spread) @ self.directions / self.size).half()


def _centres(side: int, points: int) -> npt.NDArray[np.int64]:
    return ((np.arange(points) + 0.5) * side / points).astype(np.int64)
