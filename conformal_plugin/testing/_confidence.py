"""Coverage that was promised with confidence: a test of the population's at this one threshold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from conformal_plugin.calibration import exact_alpha
from conformal_plugin.testing._bets import high_losses_pvalue, losses_to_bet_on
from conformal_plugin.testing._failures import CoverageError
from conformal_plugin.testing._groups import labels_of
from conformal_plugin.testing._images import checked_coverage
from conformal_plugin.testing._laws import checked_rate

__all__ = ["assert_confident_coverage", "require_confident"]


def assert_confident_coverage(
    image_coverage: Any,
    *,
    alpha: float,
    ids: Iterable[object] | None = None,
    groups: Any = None,
    false_alarm: float = 1e-3,
) -> None:
    """Fail when the mean coverage of the test images lies below ``1 - alpha`` by no chance.

    Null hypothesis: test images are independent draws of a population whose expected coverage at
    this threshold is at least ``1 - alpha``, which is what
    :func:`conformal_plugin.calibrate_with_confidence` promises. The calibration images have no
    part in it. The test is that of :func:`assert_precision`, by bets on one image after the other
    (:func:`conformal_plugin.betting.betting_pvalue`), in an order that knows nothing of their
    coverage: do not sort images by what was measured on them. It holds for every law of the
    coverage and any correlation within images; the alarm rate is mostly lower than stated.

    A promise made with probability ``1 - delta`` over calibration sets is broken by a share
    ``delta`` of them, rightly: the alarm rate over fresh calibrations is at most ``delta +
    false_alarm``. To test delta itself use :func:`assert_promise_rate`.

    Args:
        image_coverage: ``(m,)``, the share of covered pixels of each test image, e.g.
            :attr:`conformal_plugin.Evaluation.image_coverage`, in the order in which they came.
        alpha: miscoverage level in (0, 1).
        ids: one per image, in step; the result is then the same in whatever order they came.
        groups: where images come in groups (videos, patients, scenes), that of each, in step. A bet
            is then on a group, by the mean of its images' losses.
        false_alarm: rate at which a threshold that keeps its promise fails, at most.

    Raises:
        CoverageError: coverage too low to be chance; an ``AssertionError``.
        AlphaError, OptionError: arguments that cannot be.

    Example:
        >>> assert_confident_coverage([0.96, 0.88] * 50, alpha=0.1)
        >>> assert_confident_coverage([0.9, 0.7] * 50, alpha=0.1)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        conformal_plugin.testing._failures.CoverageError: coverage 0.8 is too low to be chance: ...
    """
    __tracebackhide__ = True
    losses = 1.0 - checked_coverage("image_coverage", image_coverage)
    names = None if ids is None else list(ids)
    require_confident(
        losses,
        alpha,
        ids=names,
        groups=labels_of(groups, len(losses), names),
        false_alarm=checked_rate("false_alarm", false_alarm),
    )


def require_confident(
    losses: np.ndarray[Any, Any],
    alpha: float,
    *,
    ids: Sequence[object] | None = None,
    groups: Sequence[str] | None = None,
    false_alarm: float,
    n_calibration: int | None = None,
) -> None:
    """Raise when test images' losses contradict a mean of at most ``alpha``.

    Args:
        losses: float64 ``(m,)``, missed shares of the images, in the order in which they came.
        alpha, ids, groups, false_alarm: as in :func:`assert_confident_coverage`.
        n_calibration: number of calibration units, for the error, where it is known.

    Raises:
        CoverageError: see :func:`assert_confident_coverage`.
    """
    __tracebackhide__ = True
    bound = float(exact_alpha(alpha))
    ordered = losses_to_bet_on(losses, ids, groups)
    p_value = high_losses_pvalue(ordered, bound, false_alarm)
    if p_value > false_alarm:
        return
    unit = "image" if groups is None else "group"
    raise CoverageError(
        observed=float(1 - ordered.mean()),
        target=1 - bound,
        lowest=float(1 - _highest(ordered, bound, false_alarm)),
        p_value=p_value,
        false_alarm=false_alarm,
        n_calibration=n_calibration,
        n_test=len(ordered),
        unit=unit,
        null=f"the promise holds and {unit}s are independent (pixels correlated in any way)",
        counts=f"{len(ordered)} test {unit}s, the {unit} as the unit (a promise made with "
        f"probability 1 - delta may be broken for this calibration set, with probability delta)",
    )


def _highest(ordered: np.ndarray[Any, Any], bound: float, level: float) -> float:
    """The highest mean loss that passes when these losses are scaled down."""
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        if high_losses_pvalue(middle * ordered, bound, level) > level:
            low = middle
        else:
            high = middle
    return float(low * ordered.mean())
