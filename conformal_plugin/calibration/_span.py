"""The exact threshold within a bin of counted scores, narrowed down by reading them again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from conformal_plugin.errors import OptionError

__all__ = ["Span", "index_from_top"]

_SUB_BINS = 16  # bits: how many times a reading divides a bin


@dataclass
class Span:
    """The patterns ``first ... last`` among which a row's exact score is, narrowed by readings.

    Attributes:
        first: the smallest pattern.
        last: the largest.
        needed: the credit still needed from the span's largest score down.
        held: the credit of the whole span.
    """

    first: int
    last: int
    needed: int
    held: int

    @property
    def shift(self) -> int:
        """Bits by which patterns are shifted into bins."""
        return max(0, (self.last - self.first).bit_length() - _SUB_BINS)

    @property
    def bins(self) -> int:
        """Number of bins."""
        return ((self.last - self.first) >> self.shift) + 1

    def counts(
        self, patterns: Any, members: Any
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Bins with a pattern, ascending, and their counts.

        Args:
            patterns: integers ``(pixels,)``, a tensor or a NumPy array.
            members: which of them are meant, booleans of the same kind.
        """
        inside = patterns[(patterns >= self.first) & (patterns <= self.last) & members]
        few = inside.cpu().numpy() if isinstance(inside, Tensor) else inside
        bins, counts = np.unique((few - self.first) >> self.shift, return_counts=True)
        return bins.astype(np.int64), counts

    def above(self, patterns: Any, members: Any) -> int:
        """How many of these patterns lie above the span; arguments as for :meth:`counts`."""
        return int(((patterns > self.last) & members).sum())

    def narrow(self, gains: np.ndarray[Any, Any]) -> None:
        """Go on with the one bin that the exact score is in."""
        found = int(gains.sum())
        if found != self.held:
            raise OptionError(
                f"the second reading found {found} where the first had counted {self.held}: pass "
                f"data that is the same each time it is read, without random augmentation, or "
                f"calibrate from an iterator in one pass"
            )
        index = index_from_top(gains, self.needed)
        self.needed -= int(gains[index + 1 :].sum())
        self.held = int(gains[index])
        shift = self.shift
        self.first += index << shift
        self.last = min(self.last, self.first + (1 << shift) - 1)


def index_from_top(credits: np.ndarray[Any, Any], needed: int) -> int:
    """The index at which the sum from the largest index down reaches ``needed``."""
    from_top = np.cumsum(credits[::-1])
    return len(credits) - 1 - int(np.searchsorted(from_top, needed))
