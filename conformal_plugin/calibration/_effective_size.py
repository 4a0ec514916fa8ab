"""How many independent pixels a calibration set is worth, from how images differ.

The pixels of one image agree with each other, so n pixels from K images say less than n independent
ones. At a threshold q let ``c_i`` of the ``M_i`` pixels of image i be covered. The pooled coverage
is a ratio, ``p = sum c_i / sum M_i``, whose variance over draws of K images the ratio estimator of
cluster sampling gives (Cochran, Sampling Techniques, 3rd edition, section 9A.2)::

    Var(p) = K / (K - 1) * sum (c_i - p M_i)^2 / (sum M_i)^2

n independent pixels would give ``p (1 - p) / n``. The effective size is the n for which the two are
equal: ``n_eff = p (1 - p) / Var(p)``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

__all__ = ["ImageSpread", "effective_size_of"]

_LARGEST = 2**63


def effective_size_of(covered: Sequence[int], pixels: Sequence[int]) -> float | None:
    """The effective size of images of which ``covered`` of the ``pixels`` are covered, in step.

    Returns:
        As :meth:`ImageSpread.effective_size`, to the bit.
    """
    sizes_squared = sum(m * m for m in pixels)
    if sizes_squared >= _LARGEST:
        return None
    squares = sum(c * c for c in covered)
    products = sum(c * m for c, m in zip(covered, pixels))
    sums = squares, products, sizes_squared
    return _effective_size(*sums, sum(covered), sum(pixels), len(pixels))


class ImageSpread:
    """The sums over images from which the effective size follows, for every threshold at once.

    ``sum c_i^2`` and ``sum c_i M_i`` are int64 arrays over the score codes, neither of which
    exceeds ``sum M_i^2``. That one is a Python integer, so that it tells when the arrays may have
    wrapped round; sums of integers that wrap are still the same in any order.

    Args:
        size: number of score codes.
    """

    def __init__(self, size: int = 0) -> None:
        self._squares = np.zeros(size, dtype=np.int64)
        self._products = np.zeros(size, dtype=np.int64)
        self._sizes_squared = 0

    def add_image(self, counts: np.ndarray[Any, Any]) -> None:
        """Add an image, given its counts of codes ``(size,)``."""
        covered = np.cumsum(counts[::-1])[::-1]
        pixels = int(covered[0])
        self._squares += covered * covered
        self._products += covered * pixels
        self._sizes_squared += pixels * pixels

    def add_points(self, counts: np.ndarray[Any, Any]) -> None:
        """Add separate points, each an image of one pixel."""
        covered = np.cumsum(counts[::-1])[::-1]
        self._squares += covered
        self._products += covered
        self._sizes_squared += int(covered[0])

    def merge(self, other: ImageSpread) -> None:
        """Add the sums of ``other``."""
        self._squares += other._squares
        self._products += other._products
        self._sizes_squared += other._sizes_squared

    def effective_size(self, code: int, covered: int, pixels: int, images: int) -> float | None:
        """The effective size at the threshold that covers codes from ``code`` up.

        Args:
            code: the smallest covered code.
            covered: pixels with such a code.
            pixels: all pixels.
            images: number of images.

        Returns:
            At most ``pixels``; None where it cannot be told: one image, all pixels covered, or
            images so large and many that their squared pixel counts sum to 2**63.
        """
        if self._sizes_squared >= _LARGEST:
            return None
        sums = int(self._squares[code]), int(self._products[code]), self._sizes_squared
        return _effective_size(*sums, covered, pixels, images)

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """The sums as plain arrays."""
        return {
            "squares": self._squares.copy(),
            "products": self._products.copy(),
            # As text: it may exceed what any NumPy integer holds.
            "sizes_squared": np.array(str(self._sizes_squared)),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> ImageSpread:
        """The sums that :meth:`state` returned."""
        spread = cls(len(state["squares"]))
        spread._squares += state["squares"]
        spread._products += state["products"]
        spread._sizes_squared = int(str(state["sizes_squared"]))
        return spread


def _effective_size(
    squares: int, products: int, sizes_squared: int, covered: int, pixels: int, images: int
) -> float | None:
    if images < 2 or covered == pixels:
        return None
    p = Fraction(covered, pixels)
    deviations = squares - 2 * p * products + p * p * sizes_squared
    variance = Fraction(images, images - 1) * deviations / pixels**2
    independent = p * (1 - p)
    return float(pixels if independent >= pixels * variance else independent / variance)
