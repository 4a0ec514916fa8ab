"""How many images coverage with a stated confidence takes at least."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from conformal_plugin.betting import MOST_TRIED, check_share, fewest_equal_losses
from conformal_plugin.calibration._quantile import exact_alpha
from conformal_plugin.errors import OptionError

__all__ = ["confident_images_needed"]


def confident_images_needed(alpha: Any, delta: float = 0.1) -> int:
    """The fewest images with which :func:`calibrate_with_confidence` can have a finite threshold.

    That is where they miss nothing at all: a bet wins a factor ``1 / (1 - alpha)`` on such an
    image, so that it takes ``ln(1 / delta) / ln(1 / (1 - alpha))`` of them. Each pixel that is
    missed asks for more. The number returned is found with the test's own bets.

    Args:
        alpha: miscoverage level in (0, 1).
        delta: the probability that the promise fails, in (0, 1).

    Raises:
        AlphaError, OptionError: a share outside its range, or more than a million images.

    Example:
        >>> confident_images_needed(0.05), confident_images_needed(0.1)
        (45, 22)
    """
    return _needed(float(exact_alpha(alpha)), check_share(delta, "delta"))


@lru_cache(maxsize=256)
def _needed(alpha: float, delta: float) -> int:
    fewest = fewest_equal_losses(0.0, alpha, aim=delta)
    if fewest is None:
        raise OptionError(
            f"alpha {alpha:g} with delta {delta:g} takes more than {MOST_TRIED:,} images; ask for "
            f"a larger alpha"
        )
    return fewest
