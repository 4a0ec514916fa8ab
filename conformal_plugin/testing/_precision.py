"""Precision of kept labels: tests of "wrong at most a share epsilon", with the image as unit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.stats

from conformal_plugin._choices import OF
from conformal_plugin.betting import by_group, check_share
from conformal_plugin.calibration import Calibration
from conformal_plugin.errors import OptionError
from conformal_plugin.labelling import most_kept
from conformal_plugin.precision import (
    kept_losses,
)
from conformal_plugin.testing._bets import high_losses_pvalue, losses_to_bet_on
from conformal_plugin.testing._failures import PrecisionError
from conformal_plugin.testing._groups import labels_of, require_same_unit
from conformal_plugin.testing._laws import checked_count, checked_rate

if TYPE_CHECKING:
    from conformal_plugin.evaluation import Evaluation

__all__ = ["assert_image_precision", "assert_precision", "assert_promise_rate"]


def assert_precision(
    evaluation: Evaluation,
    promise: Calibration | float,
    *,
    of: str | None = None,
    ids: Iterable[object] | None = None,
    groups: Any = None,
    false_alarm: float = 1e-3,
) -> None:
    """Fail when more kept labels are wrong than the promise and chance allow.

    Null hypothesis: test images are independent draws of a population in which the promise holds at
    this threshold. The unit is the image: its pixels may be correlated in any way. The test is
    :func:`conformal_plugin.betting.betting_pvalue` (Waudby-Smith and Ramdas, arXiv
    2010.09686) on the losses that the promise is about, see
    :func:`conformal_plugin.calibrate_precision`: a gambler who bets on high losses multiplies the
    stake by 1 / false_alarm with probability at most false_alarm. That takes an order which knows
    nothing of the losses: images are bet on by a hash of their ids or, without these, of their
    numbers in the order in which they came, see
    :func:`conformal_plugin.betting.betting_order`. So do not sort images by what was measured on
    them. The alarm rate is at most the stated one, and mostly lower: a bet is a bound.

    A promise made with probability ``1 - delta`` over calibration sets is broken by a share
    ``delta`` of them, rightly: the alarm rate over fresh calibrations is at most ``delta +
    false_alarm``. To test delta itself use :func:`assert_promise_rate`.

    Args:
        evaluation: of test images, by :func:`conformal_plugin.evaluate`.
        promise: a calibration by :func:`conformal_plugin.calibrate_precision`, with any weighting;
            or epsilon, a bound in (0, 1) on the share of wrong labels among the kept ones, every
            image counting alike (``weighting="share"``).
        of: ``"foreground"`` where an epsilon is about the labels other than the background alone,
            ``"all"`` for all; None for what the calibration is about, and for all.
        ids: one per measured image, in the order in which they were evaluated (without those that
            have no labelled pixel); the result is then the same in whatever order they came.
        groups: where images come in groups (videos, patients, scenes), that of each, in step or as
            a mapping from ids. A bet is then on a group, by the mean of its images' losses, in the
            order of a hash of its name, and groups are the independent draws.
        false_alarm: rate at which a threshold that keeps its promise fails, at most.

    Raises:
        PrecisionError: too many wrong labels to be chance; an ``AssertionError``.
        OptionError: arguments that cannot be, or a calibration that promises no precision.

    Example:
        >>> import numpy as np
        >>> from conformal_plugin import evaluate
        >>> masks = np.full((50, 2, 4, 4), 0.1)
        >>> masks[:, 1] = 0.9
        >>> labels = np.ones((50, 4, 4), dtype=int)
        >>> assert_precision(evaluate(masks, labels, 0.5), 0.05)
        >>> swapped = evaluate(masks, 1 - labels, 0.5)
        >>> assert_precision(swapped, 0.05)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        conformal_plugin.testing._failures.PrecisionError: 1 of the kept labels are wrong ...
    """
    __tracebackhide__ = True
    epsilon, weighting = _promised(promise)
    if isinstance(promise, Calibration):
        require_same_unit(promise, groups)
        if of not in (None, promise.of):
            raise OptionError(
                f"the calibration is about {promise.of!r} labels, and of={of!r} was asked for; "
                f"leave it out, or pass the epsilon to test for"
            )
        of = promise.of
    wrong, kept = _counted(evaluation, of or OF[0])
    sizes = _sizes(evaluation, promise, weighting)
    names = None if ids is None else list(ids)
    labels = labels_of(groups, len(kept), names)
    _require(
        kept_losses(wrong, kept, sizes, epsilon, weighting),
        *_risk(wrong, kept, sizes, weighting, labels),
        ids=names,
        groups=labels,
        epsilon=epsilon,
        false_alarm=false_alarm,
    )


def assert_image_precision(
    wrong: Any,
    kept: Any,
    *,
    epsilon: float,
    ids: Iterable[object] | None = None,
    groups: Any = None,
    false_alarm: float = 1e-3,
) -> None:
    """Fail when the share of wrong labels, averaged over images, is above ``epsilon`` by no chance.

    Null hypothesis: images are independent draws of a population in which, at this threshold, the
    mean of ``wrong / max(kept, 1)`` is at most ``epsilon`` (``weighting="macro"``). The test is
    that of :func:`assert_precision`, for counts of one's own, in the order in which the images
    came: not sorted by what was counted.

    Args:
        wrong: integers ``(m,)``, kept pixels with a wrong label, of each image.
        kept: integers ``(m,)``, kept pixels of each image.
        epsilon: promised bound on the risk, in (0, 1).
        ids, groups: one per image, in step; as in :func:`assert_precision`.
        false_alarm: rate at which a threshold that keeps its promise fails, at most; what
            :func:`assert_precision` says about delta holds here too.

    Raises:
        PrecisionError: too many wrong labels to be chance; an ``AssertionError``.
        OptionError: arguments that cannot be.

    Example:
        >>> kept = [100, 80, 90, 120] * 20
        >>> assert_image_precision([3, 0, 5, 1] * 20, kept, epsilon=0.05)
        >>> wrong = [12, 9, 14, 10] * 20
        >>> assert_image_precision(wrong, kept, epsilon=0.05)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        conformal_plugin.testing._failures.PrecisionError: 0.1178... of the kept labels ...
    """
    __tracebackhide__ = True
    bound = check_share(epsilon, "epsilon")
    wrongs, keeps = np.asarray(wrong), np.asarray(kept)
    if wrongs.shape != keeps.shape or wrongs.ndim != 1 or not len(wrongs):
        raise OptionError(
            f"wrong and kept must hold one count per image, got shapes {wrongs.shape} and "
            f"{keeps.shape}"
        )
    if wrongs.dtype.kind not in "iu" or keeps.dtype.kind not in "iu":
        raise OptionError("wrong and kept must be integer counts of pixels, not shares")
    if np.any(wrongs < 0) or np.any(wrongs > keeps):
        raise OptionError("wrong must lie between 0 and kept in each image")
    names = None if ids is None else list(ids)
    labels = labels_of(groups, len(wrongs), names)
    _require(
        kept_losses(wrongs, keeps, keeps, bound, "macro"),
        *_risk(wrongs, keeps, keeps, "macro", labels),
        ids=names,
        groups=labels,
        epsilon=bound,
        false_alarm=false_alarm,
    )


def _counted(evaluation: Evaluation, of: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Wrong and kept labels of each image, of all classes or of the foreground."""
    if of not in OF:
        raise OptionError(f"of must be one of {', '.join(OF)}, got {of!r}")
    if of == "all":
        return evaluation.image_wrong, evaluation.image_kept
    wrong, kept = evaluation.image_wrong_foreground, evaluation.image_kept_foreground
    if wrong is None or kept is None:
        raise OptionError(
            "this evaluation does not know the foreground's labels; evaluate again with "
            "conformal_plugin.evaluate"
        )
    return wrong, kept


def _sizes(evaluation: Evaluation, promise: Calibration | float, weighting: str) -> Any:
    """How many labels each image may keep, of those that are measured, as calibration counted."""
    pixels, cap, bound = evaluation.image_pixels, None, None
    if isinstance(promise, Calibration):
        cap, bound = promise.cap, promise.max_pixels
    areas = pixels if evaluation.image_areas is None else evaluation.image_areas
    if cap is not None and evaluation.image_areas is None:
        raise OptionError(
            "the calibration keeps at most a share of each image, and this evaluation does not "
            "know how large they are; evaluate again with conformal_plugin.evaluate"
        )
    if bound is not None:
        largest = int((pixels if cap is None else areas).max())
        if largest > bound:
            raise OptionError(
                f"the promise is for images of at most {bound} pixels, and a test image has "
                f"{largest}; calibrate with max_pixels={largest} or more"
            )
    if weighting == "pixel":
        areas = pixels = np.full(len(pixels), bound)
    return pixels if cap is None else np.minimum(pixels, np.maximum(most_kept(cap, areas), 1))


def _promised(promise: Calibration | float) -> tuple[float, str]:
    """Epsilon and the weighting."""
    if not isinstance(promise, Calibration):
        return check_share(promise, "promise, where it is an epsilon,"), "share"
    family, _, weighting = promise.guarantee.name.partition("-")
    if family != "precision":
        raise OptionError(
            f"a calibration with the guarantee {promise.guarantee.name!r} promises no precision; "
            f"test it with assert_coverage, or pass the epsilon to test for"
        )
    return promise.alpha, weighting


def _risk(
    wrong: np.ndarray[Any, Any],
    kept: np.ndarray[Any, Any],
    pixels: np.ndarray[Any, Any],
    weighting: str,
    groups: Sequence[str] | None,
) -> tuple[float, str]:
    """The share of wrong labels that the promise is about, and what it was averaged over."""
    if weighting == "macro":
        over = "images" if groups is None else "the images of a group, and over groups"
        return float(by_group(wrong / np.maximum(kept, 1), groups).mean()), f"mean over {over}"
    counts = f"{wrong.sum()} of {kept.sum()} kept pixels"
    if weighting == "pixel" and groups is None:
        return float(wrong.sum() / max(kept.sum(), 1)), counts
    sizes = pixels if weighting == "share" else np.ones_like(pixels)
    share = float(by_group(kept / sizes, groups).sum())
    risk = float(by_group(wrong / sizes, groups).sum()) / share if share else 0.0
    return risk, f"{counts}, every {'image' if groups is None else 'group'} counting alike"


def _require(
    losses: np.ndarray[Any, Any],
    risk: float,
    counts: str,
    *,
    ids: Sequence[object] | None,
    groups: Sequence[str] | None,
    epsilon: float,
    false_alarm: float,
) -> None:
    __tracebackhide__ = True
    rate = checked_rate("false_alarm", false_alarm)
    ordered = losses_to_bet_on(losses, ids, groups)
    unit = "image" if groups is None else "group"
    p_value = high_losses_pvalue(ordered, epsilon, rate)
    if p_value <= rate:
        raise PrecisionError(
            _message(risk, counts, epsilon, len(ordered), p_value, rate, unit),
            observed=risk,
            epsilon=epsilon,
            p_value=p_value,
            false_alarm=rate,
            n_test=len(ordered),
        )


def assert_promise_rate(broken: int, runs: int, *, delta: float, false_alarm: float = 1e-3) -> None:
    """Fail when a promise that may break with probability ``delta`` broke more often than chance.

    For simulations in which the true risk of each calibration is known: over independent runs the
    number of broken promises is at most binomial.

    Args:
        broken: number of runs in which the promise did not hold.
        runs: number of independent runs, each with a calibration of its own.
        delta: the probability with which the promise may break, in (0, 1).
        false_alarm: rate at which a sound method fails, at most.

    Raises:
        PrecisionError: the promise broke too often to be chance; an ``AssertionError``.
        OptionError: arguments that cannot be.

    Example:
        >>> assert_promise_rate(11, 100, delta=0.1)
        >>> assert_promise_rate(210, 1000, delta=0.1)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        conformal_plugin.testing._failures.PrecisionError: the promise broke in 210 of 1000 runs...
    """
    __tracebackhide__ = True
    allowed = check_share(delta, "delta")
    rate = checked_rate("false_alarm", false_alarm)
    total = checked_count("runs", runs)
    whole = isinstance(broken, (int, np.integer)) and not isinstance(broken, bool)
    if not whole or not 0 <= broken <= total:
        raise OptionError(f"broken must be an integer from 0 to {total}, got {broken!r}")
    p_value = float(scipy.stats.binom.sf(broken - 1, total, allowed))
    if p_value <= rate:
        most = int(scipy.stats.binom.isf(rate, total, allowed))
        raise PrecisionError(
            f"the promise broke in {broken} of {total} runs, a share of {broken / total:.4g} where "
            f"delta = {allowed:g} allows {most} runs by chance; a share this high has a chance of "
            f"at most {p_value:.3g}\nusual causes: a bound for independent pixels used on images; "
            f"a bound whose bets see the present observation; thresholds tested in an order that "
            f"looked at the data; testing on after the first failure",
            observed=broken / total,
            epsilon=allowed,
            p_value=p_value,
            false_alarm=rate,
            n_test=total,
        )


def _message(
    share: float, counts: str, bound: float, m: int, p_value: float, rate: float, unit: str
) -> str:
    return (
        f"{share:.6g} of the kept labels are wrong ({counts}), which is too many to be chance: at "
        f"most {bound:g} is promised\n"
        f"{m} test {unit}s, the {unit} as the unit; if the promise holds and {unit}s are "
        f"independent, so many have a chance of at most {p_value:.3g}; this assertion fails a "
        f"threshold that keeps its promise at a rate of at most {rate:g} (a promise made with "
        f"probability 1 - delta may be broken for this calibration set, with probability delta)\n"
        f"usual causes of wrong kept labels:\n"
        f"  - a bound that counted pixels as independent: the unit is the image\n"
        f"  - coverage was calibrated, which does not bound how many kept labels are wrong\n"
        f"  - another rule, background class or resolution at calibration than at test\n"
        f"  - labels are shifted by one class, or resized with interpolation\n"
        f"  - the labelled images are not exchangeable with these: other photos, coarser masks"
    )
