"""The formula: which of the calibration scores q-hat is.

With n nonconformity scores ``1 - P(y)``, sorted ascending, q-hat is the one of rank
``ceil((n + 1)(1 - alpha))``, and infinite where that rank exceeds n. ``_qhat.py`` finds it without
sorting.
"""

from __future__ import annotations

import math
import numbers
from fractions import Fraction
from typing import Any

from conformal_plugin.errors import AlphaError

__all__ = ["STEPS", "conformal_rank", "exact_alpha", "images_needed"]

STEPS = 16
"""A p-value is known to one in so many."""


def exact_alpha(alpha: Any) -> Fraction:
    """``alpha`` as the decimal number its user wrote: 0.05 is 1/20, not the nearest binary float.

    Raises:
        AlphaError: no real number strictly between 0 and 1.
    """
    number = isinstance(alpha, numbers.Real) and not isinstance(alpha, bool)
    exact = Fraction(str(alpha)) if number and math.isfinite(alpha) else Fraction(0)
    if not 0 < exact < 1:
        raise AlphaError(
            f"alpha must be a number strictly between 0 and 1 (0.05 asks for 95 % coverage), got "
            f"{alpha!r}"
        )
    return exact


def conformal_rank(n: int, alpha: Any) -> int:
    """``ceil((n + 1) (1 - alpha))``, in exact arithmetic.

    q-hat is the nonconformity score of this rank, counted from the smallest; when the rank exceeds
    ``n`` it is infinite (ConformalSAM, arXiv 2507.15803, section 3; the correction by one is
    split conformal prediction's).
    """
    return math.ceil((n + 1) * (1 - exact_alpha(alpha)))


def images_needed(alpha: Any) -> int:
    """The fewest images with which a promise per image can have a finite threshold.

    The smallest K with ``alpha >= 1 / (K + 1)``: below it even the largest score is too small.
    """
    return math.ceil(1 / exact_alpha(alpha) - 1)
