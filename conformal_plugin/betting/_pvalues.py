"""Tests of "the mean loss is above epsilon" from few bounded observations, valid at any size."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from conformal_plugin.errors import OptionError, ScoreError, ShapeError

__all__ = [
    "bets_on_equal_losses",
    "betting_pvalue",
    "betting_pvalue_without_replacement",
    "bound_on_equal_losses",
    "check_share",
    "hoeffding_bentkus_pvalue",
]

_PRIOR_IMAGES = 10.0
_LARGEST_BET = 1.0 - 1e-9
"""Share of the bet that a loss of 1 would ruin; below 1 so that logarithms stay finite."""


def hoeffding_bentkus_pvalue(losses: Any, epsilon: float) -> Any:
    """p-value of the hypothesis that losses in [0, 1] have a mean above ``epsilon``.

    ``min(exp(-n h1(min(R, eps), eps)), e P(Bin(n, eps) <= ceil(n R)))`` with R the mean loss and
    ``h1(a, b) = a ln(a/b) + (1 - a) ln((1 - a)/(1 - b))``: Hoeffding's and Bentkus's inequalities,
    for independent losses (Bates et al., arXiv 2101.02703; Learn then Test, arXiv 2110.01052).

    Args:
        losses: floats in [0, 1], ``(n,)``, or ``(n, G)`` for G hypotheses at once; one row per
            image.
        epsilon: the bound on the mean, in (0, 1).

    Returns:
        The p-value, a float, or a float64 array ``(G,)``.

    Raises:
        OptionError: epsilon outside (0, 1).
        ShapeError: no observation, or more than two dimensions.
        ScoreError: a loss that is NaN or outside [0, 1].

    Example:
        >>> round(hoeffding_bentkus_pvalue([0.0] * 50, 0.1), 4)
        0.0052
    """
    epsilon = check_share(epsilon, "epsilon")
    rows = _observations(losses)
    mean = np.minimum(rows.mean(axis=0), 1.0)
    return _like(losses, _hoeffding_bentkus(mean, len(rows), epsilon))


def bound_on_equal_losses(
    loss: float, epsilon: float, numbers: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """:func:`hoeffding_bentkus_pvalue` of so many losses that are all ``loss``, for each number."""
    return _hoeffding_bentkus(np.full(len(numbers), loss), numbers, epsilon)


def _hoeffding_bentkus(mean: np.ndarray[Any, Any], n: Any, epsilon: float) -> np.ndarray[Any, Any]:
    from scipy.stats import binom  # which takes a second to import, and few ask for these bounds

    low = np.minimum(mean, epsilon)
    # The mean in floating point may lie a hair above k / n; the binomial must not jump for it.
    count = np.ceil(n * mean - 1e-9)
    p = np.minimum(
        np.exp(-n * _binary_divergence(low, epsilon)), math.e * binom.cdf(count, n, epsilon)
    )
    return np.asarray(np.minimum(p, 1.0))


def betting_pvalue(
    losses: Any, epsilon: float, *, aim: Any = 0.1, planned: int | None = None
) -> Any:
    """p-value of the hypothesis that losses in [0, 1] have a mean above ``epsilon``, by betting.

    A capital of 1 is staked against the hypothesis, image after image:
    ``K_t = prod_{s <= t} (1 + bet_s (epsilon - L_s))``, with ``0 <= bet_s < 1 / (1 - epsilon)``
    chosen from the losses before s. If every loss has a mean of at least epsilon given those before
    it, K is a non-negative supermartingale and by Ville's inequality ``P(max_t K_t >= 1/d) <= d``,
    so that ``1 / max_t K_t`` is a p-value at every level (Waudby-Smith and Ramdas, arXiv
    2010.09686), whatever ``aim`` is. The bets are
    ``sqrt(2 ln(target / K_{t-1}) / ((n - t + 1) v_{t-1}))``: they aim at the capital that is still
    missing in the images still to come (Voracek and Orabona, arXiv 2505.22422). ``v_{t-1}`` is the
    mean of ``(epsilon - L_s)**2`` so far, begun with ten imagined images at
    ``epsilon (1 - epsilon)``, the largest variance that losses in [0, 1] with mean epsilon can
    have. Once a target is reached, the next one is ten times as high.

    Args:
        losses: floats in [0, 1], ``(n,)``, or ``(n, G)`` for G hypotheses at once; one row per
            image, in an order that does not depend on the losses.
        epsilon: the bound on the mean, in (0, 1).
        aim: the level in (0, 1] that the test is wanted for, a number or one per hypothesis, fixed
            beforehand: the first target is ``1 / aim``.
        planned: how many images the bets are made for, fixed before the first look; with more
            than that, for twice as many, and so on. They do not depend on how many there are then,
            so that later losses can be added and looked at again: the probability that *any* of
            the looks has a p-value of at most d is at most d. None for n, and one look.

    Returns:
        The p-value, a float, or a float64 array ``(G,)``.

    Raises:
        OptionError: epsilon, aim or ``planned`` out of range.
        ShapeError: no observation, or more than two dimensions.
        ScoreError: a loss that is NaN or outside [0, 1].

    Example:
        >>> round(betting_pvalue([0.0] * 50, 0.1), 4)
        0.0088
    """
    epsilon = check_share(epsilon, "epsilon")
    rows = _observations(losses)
    n, hypotheses = rows.shape
    whole = isinstance(planned, (int, np.integer)) and not isinstance(planned, bool)
    if planned is not None and not (whole and planned >= 1):
        raise OptionError(f"planned must be a number of images from 1, got {planned!r}")
    horizon = n if planned is None else int(planned)
    bets = _Bets(epsilon, _aims(aim, hypotheses), _LARGEST_BET / (1.0 - epsilon))
    highest = np.zeros(hypotheses)
    for t, loss in enumerate(rows):
        if t == horizon:
            horizon *= 2
        bets.place(horizon - t, loss)
        highest = np.maximum(highest, bets.capital)
    return _like(losses, np.exp(-highest))


def betting_pvalue_without_replacement(
    losses: Any, epsilon: float, *, unlabelled: int, aim: Any = 0.1
) -> Any:
    """p-value of "losses of the other images have a mean above ``epsilon``", by betting.

    The labelled images are n of n + m that were drawn at random, and the hypothesis is about the m
    others, not about a population. If all losses together sum to T, the next one has the mean
    ``(T - S_{t-1}) / (n + m - t + 1)`` given those before it, whose sum is ``S_{t-1}``, and
    ``K_t = prod_{s <= t} (1 + bet_s ((T - S_{s-1}) / (n + m - s + 1) - L_s))`` is a martingale
    (Waudby-Smith and Ramdas, arXiv 2006.04347). The hypothesis says ``T > S_n + m epsilon``. Bets
    do not depend on T, so that K grows with T, and what is rejected at ``T = S_n + m epsilon`` is
    rejected at every larger one. No law of the images is assumed.

    Args:
        losses, epsilon, aim: as :func:`betting_pvalue`.
        unlabelled: m, how many others there are.

    Returns:
        The p-value, a float, or a float64 array ``(G,)``.

    Raises:
        OptionError, ShapeError, ScoreError: as :func:`betting_pvalue`.

    Example:
        >>> round(betting_pvalue_without_replacement([0.0] * 60, 0.1, unlabelled=300), 4)
        0.0085
    """
    epsilon = check_share(epsilon, "epsilon")
    rows = _observations(losses)
    n, hypotheses = rows.shape
    # They look at their own capital: as if they were against the mean epsilon throughout.
    bets = _Bets(epsilon, _aims(aim, hypotheses), _LARGEST_BET)
    left = unlabelled * epsilon + rows[::-1].cumsum(axis=0)[::-1]
    capital, highest = np.zeros(hypotheses), np.zeros(hypotheses)
    for t, loss in enumerate(rows):
        bet = bets.place(n - t, loss)
        capital += np.log1p(bet * (left[t] / (n + unlabelled - t) - loss))
        highest = np.maximum(highest, capital)
    return _like(losses, np.exp(-highest))


def bets_on_equal_losses(
    loss: float,
    epsilon: float,
    numbers: np.ndarray[Any, Any],
    *,
    aim: float,
    unlabelled: int | None = None,
) -> np.ndarray[Any, Any]:
    """p-values by betting of so many losses that are all ``loss``, for each number at once.

    Those of :func:`betting_pvalue`, or with ``unlabelled`` of
    :func:`betting_pvalue_without_replacement`.
    """
    largest = _LARGEST_BET if unlabelled is not None else _LARGEST_BET / (1.0 - epsilon)
    bets = _Bets(epsilon, _aims(aim, len(numbers)), largest)
    capital, highest = np.zeros(len(numbers)), np.zeros(len(numbers))
    for t in range(int(numbers.max())):
        # Where all losses have come, bets go on and are not looked at.
        left = np.maximum(numbers - t, 1)
        bet = bets.place(left, loss)
        if unlabelled is None:
            capital = bets.capital
        else:
            mean = (unlabelled * epsilon + left * loss) / (left + unlabelled)
            capital = capital + np.log1p(bet * (mean - loss))
        highest = np.where(numbers > t, np.maximum(highest, capital), highest)
    return np.asarray(np.exp(-highest))


class _Bets:
    """Bets against a mean of ``epsilon``, each made of the losses before it.

    Attributes:
        capital: its logarithm, for each hypothesis; a capital may exceed any float.
    """

    def __init__(self, epsilon: float, aims: np.ndarray[Any, Any], cap: float) -> None:
        self.capital = np.zeros(len(aims))
        self._epsilon, self._cap = epsilon, cap
        self._target = -np.log(aims)
        self._squares = np.full(len(aims), _PRIOR_IMAGES * epsilon * (1.0 - epsilon))
        self._images = 0

    def place(self, to_come: Any, loss: Any) -> np.ndarray[Any, Any]:
        """The bet on a loss that is the first of ``to_come``; only then is the loss looked at."""
        variance = self._squares / (_PRIOR_IMAGES + self._images)
        missing = self._target - self.capital
        bet: np.ndarray[Any, Any] = np.minimum(
            self._cap, np.sqrt(2.0 * missing / (to_come * variance))
        )
        gain = self._epsilon - loss
        self.capital += np.log1p(bet * gain)
        self._squares += gain**2
        self._target = np.where(
            self.capital >= self._target, self.capital + math.log(10.0), self._target
        )
        self._images += 1
        return bet


def check_share(value: Any, name: str) -> float:
    """``value`` as a float strictly between 0 and 1.

    Raises:
        OptionError: it is no such number.
    """
    number = isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))
    if not number or not 0.0 < float(value) < 1.0:
        raise OptionError(
            f"{name} must be a number strictly between 0 and 1 (0.05 for 5 %), got {value!r}"
        )
    return float(value)


def _observations(losses: Any) -> np.ndarray[Any, Any]:
    """The losses as ``(n, G)`` float64, checked."""
    rows = np.asarray(losses, dtype=np.float64)
    if rows.ndim not in (1, 2) or rows.size == 0:
        raise ShapeError(
            f"losses must have shape (n,) or (n, G) with at least one observation, got "
            f"{rows.shape}; pass one row per image"
        )
    if not bool(((rows >= 0.0) & (rows <= 1.0)).all()):
        raise ScoreError(
            "losses must lie in [0, 1] and hold no NaN, and some do not; divide each by the "
            "largest value that a loss can have"
        )
    return rows if rows.ndim == 2 else rows[:, None]


def _aims(aim: Any, hypotheses: int) -> np.ndarray[Any, Any]:
    aims = np.asarray(aim, dtype=np.float64)
    if aims.shape not in ((), (hypotheses,)) or not bool(((aims > 0.0) & (aims <= 1.0)).all()):
        raise OptionError(
            f"aim must be a level in (0, 1], one number or one for each of the {hypotheses} "
            f"hypotheses, got {aim!r}"
        )
    return np.broadcast_to(aims, (hypotheses,))


def _binary_divergence(a: np.ndarray[Any, Any], b: float) -> np.ndarray[Any, Any]:
    """``h1(a, b)`` with ``0 ln 0 = 0``."""
    safe = np.where(a > 0.0, a, 1.0)
    first = np.where(a > 0.0, a * np.log(safe / b), 0.0)
    return np.asarray(first + (1.0 - a) * np.log((1.0 - a) / (1.0 - b)))


def _like(losses: Any, p: np.ndarray[Any, Any]) -> Any:
    return p if np.ndim(losses) == 2 else float(p[0])
