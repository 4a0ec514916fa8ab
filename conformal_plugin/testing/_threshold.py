"""A threshold against the order statistic of its scores: a wrong rule shows in a single run."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterator
from typing import Any

import numpy as np

from conformal_plugin.calibration import conformal_rank, exact_alpha
from conformal_plugin.errors import OptionError
from conformal_plugin.testing._failures import ThresholdError

__all__ = ["assert_threshold"]

_SAME = 1e-9  # relative; what two ways to write one formula differ by


def assert_threshold(
    scores: Any, qhat: Any, *, alpha: float, side: str = "both", tolerance: float = 0.0
) -> None:
    """Fail when a threshold is not the conformal quantile of the scores that it was made from.

    The quantile is the ``ceil((n + 1)(1 - alpha))``-th smallest of the n scores, and infinite where
    that rank exceeds n. No chance comes in: a rule that gives another number on these scores is
    another rule. The message names the usual mistakes that give exactly the number that was passed.
    Coverage of test data shows the same mistakes after hundreds of runs only
    (:func:`assert_threshold_rule`); but where scores tie, a wrong rule may give the right number.

    Args:
        scores: nonconformity scores of the calibration points (or of all labelled pixels), any
            shape; larger is stranger.
        qhat: the threshold that was made from them, ``inf`` included.
        alpha: miscoverage level in (0, 1).
        side: ``"both"``, or ``"low"`` to pass a threshold that is higher than need be: it covers
            more than was asked for.
        tolerance: how far off it may be, 0 for not at all; the ``resolution`` of a
            :class:`conformal_plugin.Calibration` for thresholds of streams.

    Raises:
        ThresholdError: another number; an ``AssertionError``.
        AlphaError, OptionError: arguments that cannot be.

    Example:
        >>> import numpy as np
        >>> scores = np.random.default_rng(0).random(92)
        >>> assert_threshold(scores, np.sort(scores)[83], alpha=0.1)  # ceil(93 x 0.9) = 84
        >>> assert_threshold(scores, np.quantile(scores, 0.9), alpha=0.1)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        conformal_plugin.testing._failures.ThresholdError: q-hat 0.93... is too low: the 84-th ...
    """
    __tracebackhide__ = True
    level = float(1 - exact_alpha(alpha))
    if side not in ("low", "both"):
        raise OptionError(f"side must be 'low' or 'both', got {side!r}")
    allowed = _number("tolerance", tolerance)
    if not 0 <= allowed < math.inf:
        raise OptionError(f"tolerance must be a number of at least 0, got {tolerance!r}")
    given = _number("qhat", qhat)
    ordered = np.sort(np.asarray(scores, dtype=np.float64), axis=None)
    if not len(ordered) or math.isnan(ordered[-1]):
        raise OptionError(
            f"scores must be numbers, at least one and no NaN, got {len(ordered)} of them"
        )
    n = len(ordered)
    rank = conformal_rank(n, alpha)
    right = float(ordered[rank - 1]) if rank <= n else math.inf
    low, high = given < right - allowed, given > right + allowed
    if not low and not (high and side == "both"):
        return
    made_by = tuple(name for name, value in _mistakes(ordered, alpha, rank) if _same(value, given))
    raise ThresholdError(
        qhat=given,
        expected=right,
        rank=rank,
        n=n,
        level=level,
        covered=int(np.searchsorted(ordered, given, side="right")),
        mistakes=made_by,
    )


def _mistakes(
    ordered: np.ndarray[Any, Any], alpha: float, rank: int
) -> Iterator[tuple[str, float]]:
    """The usual mistakes, and the threshold that each makes of these scores."""
    n = len(ordered)
    level = 1 - exact_alpha(alpha)
    uncorrected, floored = math.ceil(n * level), math.floor((n + 1) * level)
    corrected = min(1.0, float((n + 1) * level / n))
    rounded = min(1.0, rank / n)

    def at(place: int) -> float:
        return float(ordered[min(max(place, 1), n) - 1])

    def quantile(share: float, method: Any = "linear") -> float:
        return float(np.quantile(ordered, share, method=method))

    if rank > n:
        yield "an infinite threshold clamped to the largest score", at(n)
        yield "an infinite threshold clamped to 1", 1.0
    yield "no (n + 1) correction: the rank ceil(n (1 - alpha))", at(uncorrected)
    yield "floor in place of ceil: the rank floor((n + 1)(1 - alpha))", at(floored)
    yield "no correction, and floor: the rank floor(n (1 - alpha))", at(math.floor(n * level))
    yield "interpolation: np.quantile(scores, 1 - alpha)", quantile(float(level))
    for method in ("higher", "lower", "nearest", "midpoint"):
        name = f'no correction: np.quantile(scores, 1 - alpha, method="{method}")'
        yield name, quantile(float(level), method)
    yield "interpolation: np.quantile(scores, (n + 1)(1 - alpha) / n)", quantile(corrected)
    yield "interpolation: np.quantile(scores, ceil((n + 1)(1 - alpha)) / n)", quantile(rounded)
    yield "an index one too high: sorted scores at [rank], counted from 0", at(rank + 1)
    yield "an index one too low: sorted scores at [rank - 2], counted from 0", at(rank - 1)
    yield "alpha in place of 1 - alpha", at(math.ceil((n + 1) * (1 - level)))
    yield "alpha in place of 1 - alpha, interpolated", quantile(float(1 - level))
    if rank <= n:
        yield "a threshold on the probability: 1 - q-hat in place of q-hat", 1 - at(rank)
        yield "an infinite threshold, which these scores do not need", math.inf


def _same(value: float, given: float) -> bool:
    return math.isclose(value, given, rel_tol=_SAME, abs_tol=1e-12)


def _number(name: str, value: Any) -> float:
    array = np.asarray(value)
    plain = isinstance(value, numbers.Real) or (array.ndim == 0 and array.dtype.kind in "fiu")
    if not plain or isinstance(value, bool) or math.isnan(float(value)):
        raise OptionError(f"{name} must be one number, got {value!r}")
    return float(value)
