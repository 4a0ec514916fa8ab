"""The fewest observations that can show something: equal losses, as good as they can be."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from conformal_plugin.betting._pvalues import bets_on_equal_losses, bound_on_equal_losses

__all__ = ["MOST_AT_HAND", "MOST_TRIED", "fewest_equal_losses"]

MOST_TRIED = 2**20
"""How many observations are tried before it is said that they are too many."""

MOST_AT_HAND = 2**14
"""The same where observations are drawn without replacement."""

_FIRST, _WIDEST = 16, 4096  # numbers that are tried at once


def fewest_equal_losses(
    loss: float,
    epsilon: float,
    *,
    aim: float,
    test: str = "betting",
    unlabelled: int | None = None,
) -> int | None:
    """The smallest number of equal losses whose p-value is at most ``aim``; None beyond the most.

    Every number is tried, in ascending order, from the first that is not out of reach: a larger one
    is not always enough where a smaller one is (without replacement, or by a bound that counts
    whole losses). Many are tried at once.

    Args:
        loss: of every observation, at most epsilon.
        epsilon: the bound on the mean that is to be shown.
        aim: the level, and what the bets aim at.
        test: ``"betting"`` or ``"hoeffding-bentkus"``.
        unlabelled: m, as in :func:`betting_pvalue_without_replacement`; None for the population.
    """
    most = MOST_TRIED if unlabelled is None else MOST_AT_HAND
    for numbers in _blocks(_soonest(loss, epsilon, aim, unlabelled), most):
        p = (
            bets_on_equal_losses(loss, epsilon, numbers, aim=aim, unlabelled=unlabelled)
            if test == "betting"
            else bound_on_equal_losses(loss, epsilon, numbers)
        )
        enough = p <= aim
        if enough.any():
            return int(numbers[enough.argmax()])
    return None


def _blocks(first: int, most: int) -> Iterator[np.ndarray[tuple[int], np.dtype[np.int64]]]:
    """All numbers from the first to the most, in blocks that grow."""
    width = _FIRST
    while first <= most:
        yield np.arange(first, min(first + width, most + 1))
        first, width = first + width, min(2 * width, _WIDEST)


def _soonest(loss: float, epsilon: float, aim: float, unlabelled: int | None) -> int:
    """No fewer losses than these reach ``aim``, whatever is bet.

    A bet is below ``1 / (1 - epsilon)``, so that a loss wins a factor of less than
    ``1 + (epsilon - loss) / (1 - epsilon)``. Without replacement it is below 1, and the mean that
    it is against lies ``m (epsilon - loss) / (m + s)`` above the loss, with s labelled ones left.
    """
    most = MOST_TRIED if unlabelled is None else MOST_AT_HAND
    left = np.arange(1, most + 1)
    if unlabelled is None:
        won = left * np.log1p((epsilon - loss) / (1.0 - epsilon))
    else:
        won = np.log1p(unlabelled * (epsilon - loss) / (unlabelled + left)).cumsum()
    # A hair less, since sums of logarithms are rounded.
    return int(np.searchsorted(won, -math.log(aim) * (1.0 - 1e-9))) + 1
