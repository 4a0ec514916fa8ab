"""Coverage of images, whose pixels are correlated: tests with the image as the unit."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from conformal_plugin.betting import by_group
from conformal_plugin.calibration import exact_alpha
from conformal_plugin.errors import OptionError
from conformal_plugin.testing._exchangeability import (
    highest_loss,
    log_chance_of_equal_halves,
    seed_of_bag,
    split_p_value,
    threshold_p_value,
)
from conformal_plugin.testing._failures import CoverageError, SameDataError
from conformal_plugin.testing._groups import labels_of, require_other_groups
from conformal_plugin.testing._laws import checked_count, checked_rate
from conformal_plugin.testing._points import assert_point_coverage

__all__ = [
    "COINCIDENCE",
    "assert_exchangeable_coverage",
    "assert_image_coverage",
    "assert_image_wise_coverage",
    "checked_coverage",
    "require_exchangeable",
    "require_losses",
    "require_other_images",
]

COINCIDENCE = 1e-5
"""Two sets that agree in all counts are called the same data when a random split of the two
together would part their equal items so evenly less often than this."""


def assert_image_coverage(
    image_coverage: Any,
    *,
    n_calibration: int,
    alpha: float,
    groups: Any = None,
    false_alarm: float = 1e-3,
) -> None:
    """Fail when the mean coverage of the test images is too low to be chance.

    Null hypothesis: calibration and test images are exchangeable, and the threshold is that of
    image-level conformal risk control, the smallest at which the calibration images miss a share
    of at most ``(alpha (n + 1) - 1) / n`` on average (arXiv 2208.02814). The pixels within an image
    may be correlated in any way. The bound holds for every law of the losses, so it is loose where
    images vary little: with the calibration images' coverage at hand,
    :func:`assert_exchangeable_coverage` sees much smaller failures.

    Args:
        image_coverage: ``(m,)``, the share of covered pixels of each test image, e.g.
            :attr:`conformal_plugin.Evaluation.image_coverage`.
        n_calibration: n, number of calibration images; of calibration groups, with ``groups``.
        alpha: miscoverage level in (0, 1).
        groups: where images come in groups (videos, patients, scenes), that of each, in step. A
            group's loss is the mean of its images' losses, and groups are what is exchangeable.
        false_alarm: rate at which a sound calibration fails, at most.

    Raises:
        CoverageError: coverage too low to be chance; an ``AssertionError``.
        AlphaError, OptionError: arguments that cannot be.

    Example:
        >>> assert_image_coverage([0.9] * 100, n_calibration=92, alpha=0.1)
        >>> poor = [0.6] * 100
        >>> assert_image_coverage(poor, n_calibration=92, alpha=0.1)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        conformal_plugin.testing._failures.CoverageError: coverage 0.6 is too low to be chance: ...
    """
    __tracebackhide__ = True
    losses = 1.0 - checked_coverage("image_coverage", image_coverage)
    labels = labels_of(groups, len(losses))
    losses = by_group(losses, labels)
    n = checked_count("n_calibration", n_calibration)
    require_losses(
        n,
        image_level_target(n, alpha),
        len(losses),
        float(losses.mean()),
        target=float(1 - exact_alpha(alpha)),
        false_alarm=checked_rate("false_alarm", false_alarm),
        unit="image" if labels is None else "group",
    )


def assert_exchangeable_coverage(
    image_coverage: Any,
    calibration_coverage: Any,
    *,
    alpha: float,
    groups: Any = None,
    calibration_groups: Any = None,
    false_alarm: float = 1e-3,
) -> None:
    """Fail when test images are covered less than chance allows, given the calibration images'.

    Null hypothesis as for :func:`assert_image_coverage`. The test is a permutation test, valid for
    any law of the losses, any correlation within images and any order of the images, and it adapts
    to how much images vary. The splits that it draws follow from the losses themselves, so that the
    same data gives the same answer.
    Two checks need no chance at all: that the threshold does on the calibration images what
    calibration at ``alpha`` makes it do, and that the two sets are not the same images.

    Args:
        image_coverage: ``(m,)``, the share of covered pixels of each test image.
        calibration_coverage: ``(n,)``, the same of each calibration image, at the same threshold.
        alpha: miscoverage level in (0, 1).
        groups, calibration_groups: where images come in groups, that of each image of either set,
            in step; both or neither. Whole groups are then permuted, by the means of their images.
        false_alarm: rate at which a sound calibration fails, at most (plus 1e-5 for the check
            that the sets differ).

    Raises:
        CoverageError: coverage too low to be chance, or a threshold below the calibrated one.
        SameDataError: the test images are the calibration images, or share a group with them.
        AlphaError, OptionError: arguments that cannot be.

    Example:
        >>> import numpy as np
        >>> calibration, test = np.linspace(0.86, 0.98, 92), np.linspace(0.8, 0.92, 100)
        >>> assert_image_coverage(test, n_calibration=92, alpha=0.1)  # knows no variance
        >>> assert_exchangeable_coverage(test, calibration, alpha=0.1)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        conformal_plugin.testing._failures.CoverageError: coverage 0.86 is too low to be chance: ...
    """
    __tracebackhide__ = True
    test = 1.0 - checked_coverage("image_coverage", image_coverage)
    calibration = 1.0 - checked_coverage("calibration_coverage", calibration_coverage)
    if (groups is None) != (calibration_groups is None):
        raise OptionError("pass both groups and calibration_groups, or neither")
    theirs = labels_of(groups, len(test))
    ours = labels_of(calibration_groups, len(calibration), name="calibration_groups")
    require_other_groups(ours or (), theirs or ())
    calibration, test = by_group(calibration, ours), by_group(test, theirs)
    require_exchangeable(
        calibration,
        image_level_target(len(calibration), alpha),
        test,
        target=float(1 - exact_alpha(alpha)),
        false_alarm=checked_rate("false_alarm", false_alarm),
        unit="image" if ours is None else "group",
    )


def assert_image_wise_coverage(
    image_coverage: Any,
    *,
    n_calibration: int,
    alpha: float,
    tau: float,
    groups: Any = None,
    false_alarm: float = 1e-3,
) -> None:
    """Fail when too few test images have a share ``tau`` of their pixels covered.

    Null hypothesis: images are exchangeable and the threshold is the image-wise quantile, so that
    the images with coverage of at least ``tau`` follow :func:`coverage_law` with the image as the
    point.

    Args:
        image_coverage: ``(m,)``, the share of covered pixels of each test image.
        n_calibration: number of calibration images; of calibration groups, with ``groups``.
        alpha: miscoverage level in (0, 1).
        tau: share of an image's pixels to be covered, in (0, 1].
        groups: where images come in groups, that of each, in step. A group's loss is then the share
            of its images that fall short of ``tau``, and the test that of
            :func:`assert_image_coverage`.
        false_alarm: rate at which a sound calibration fails, at most.

    Raises:
        CoverageError: too few images covered to be chance; an ``AssertionError``.
        AlphaError, OptionError: arguments that cannot be.

    Example:
        >>> assert_image_wise_coverage([0.95, 0.7, 0.91], n_calibration=92, alpha=0.1, tau=0.9)
    """
    __tracebackhide__ = True
    coverage = checked_coverage("image_coverage", image_coverage)
    if not 0 < tau <= 1:
        raise OptionError(f"tau must be a share of pixels in (0, 1], got {tau!r}")
    # A share that is tau but for a rounding error is tau.
    enough = coverage >= tau - 1e-12
    labels = labels_of(groups, len(coverage))
    if labels is not None:
        losses = by_group(1.0 - enough, labels)
        n = checked_count("n_calibration", n_calibration)
        require_losses(
            n,
            image_level_target(n, alpha),
            len(losses),
            float(losses.mean()),
            target=float(1 - exact_alpha(alpha)),
            false_alarm=checked_rate("false_alarm", false_alarm),
            unit="group",
        )
        return
    covered = int(np.sum(enough))
    assert_point_coverage(
        covered, len(coverage), n_calibration=n_calibration, alpha=alpha, false_alarm=false_alarm
    )


def image_level_target(n: int, alpha: float) -> float:
    """The mean loss that n calibration images have at most: ``(alpha (n + 1) - 1) / n``."""
    return float((exact_alpha(alpha) * (n + 1) - 1) / n)


def require_losses(
    n: int,
    threshold_target: float,
    m: int,
    loss: float,
    *,
    target: float,
    false_alarm: float,
    measure: Callable[[float], float] = lambda loss: 1 - loss,
    unit: str = "image",
) -> None:
    """Hold a mean test loss to what a threshold calibrated so promises.

    Args:
        n: number of calibration images.
        threshold_target: what the mean calibration loss is brought down to; below 0 where the
            threshold must be infinite.
        m: number of test images.
        loss: mean test loss.
        target: promised coverage, for the message.
        false_alarm: level of the test.
        measure: the coverage to report for a mean loss.
        unit: ``"image"`` or ``"group"``, for the message.

    Raises:
        CoverageError: a mean test loss too high to be chance.
    """
    __tracebackhide__ = True
    p_value = threshold_p_value(n, threshold_target, m, loss)
    if p_value > false_alarm:
        return
    counts = f"{m} test {unit}s, {n} calibration {unit}s, the {unit} as the unit"
    if threshold_target < 0:
        counts += f"; with so few calibration {unit}s the threshold is infinite and covers all"
    raise CoverageError(
        observed=measure(loss),
        target=target,
        lowest=measure(highest_loss(n, threshold_target, m, false_alarm)),
        p_value=p_value,
        false_alarm=false_alarm,
        n_calibration=n,
        n_test=m,
        unit=unit,
        null=f"calibration and test {unit}s are exchangeable (pixels correlated in any way)",
        counts=counts,
    )


def require_exchangeable(
    calibration: np.ndarray[Any, Any],
    threshold_target: float,
    test: np.ndarray[Any, Any],
    *,
    target: float,
    false_alarm: float,
    measure: Callable[[float], float] = lambda loss: 1 - loss,
    unit: str = "image",
) -> None:
    """Raise when the losses of test and calibration images contradict the calibration.

    Args:
        calibration: float64 ``(n,)``, losses of the calibration images at the threshold.
        threshold_target: what their mean is brought down to.
        test: float64 ``(m,)``, losses of the test images.
        target: promised coverage, for the message.
        false_alarm: level of the test.
        measure: the test images' coverage to report for a mean loss.
        unit: ``"image"`` or ``"group"``, for the message.

    Raises:
        CoverageError, SameDataError: see :func:`assert_exchangeable_coverage`.
    """
    __tracebackhide__ = True
    n, m = len(calibration), len(test)
    own = float(calibration.mean())
    allowed = max(threshold_target, 0.0)
    counts = f"{m} test {unit}s, {n} calibration {unit}s, the {unit} as the unit"
    if own > allowed + 1e-9:
        raise CoverageError(
            observed=1 - own,
            target=target,
            lowest=1 - allowed,
            p_value=0.0,
            false_alarm=false_alarm,
            n_calibration=n,
            n_test=m,
            unit=unit,
            null=(
                f"the threshold was calibrated on these {n} {unit}s (measured here on the "
                f"calibration {unit}s themselves, whose coverage calibration brings to "
                f"{1 - allowed:.6g} or more)"
            ),
            counts=counts,
        )
    require_other_images(calibration, test)
    if threshold_target < 0:
        loss = float(test.mean())
        require_losses(
            n,
            threshold_target,
            m,
            loss,
            target=target,
            false_alarm=false_alarm,
            measure=measure,
            unit=unit,
        )
        return
    seed = seed_of_bag(calibration, test)
    p_value = split_p_value(calibration, test, threshold_target, false_alarm, seed)
    if p_value > false_alarm:
        return
    spread = math.sqrt(float(np.concatenate([calibration, test]).var()) * (1 / n + 1 / m))
    raise CoverageError(
        observed=measure(float(test.mean())),
        target=target,
        lowest=measure(_highest(calibration, test, threshold_target, false_alarm, seed)),
        p_value=p_value,
        false_alarm=false_alarm,
        n_calibration=n,
        n_test=m,
        unit=unit,
        null=f"calibration and test {unit}s are exchangeable (permutation test of the threshold)",
        counts=f"{counts}; calibration {unit}s miss a share of {own:.6g} on average, test {unit}s "
        f"{float(test.mean()):.6g}, and the difference of two such means has a standard deviation "
        f"of {spread:.2g}",
    )


def checked_coverage(name: str, values: Any) -> np.ndarray[Any, Any]:
    """``values`` as float64 ``(images,)`` in [0, 1].

    Raises:
        OptionError: they are not.
    """
    coverage = np.asarray(values, dtype=np.float64)
    if coverage.ndim != 1 or not len(coverage):
        raise OptionError(
            f"{name} must hold one number per image, got shape {coverage.shape}; pass "
            f"Evaluation.image_coverage"
        )
    if not np.all((coverage >= 0) & (coverage <= 1)):
        raise OptionError(f"{name} must hold shares of covered pixels in [0, 1]")
    return coverage


def require_other_images(calibration: np.ndarray[Any, Any], test: np.ndarray[Any, Any]) -> None:
    """Two sets with the same losses, image by image, are the same images."""
    __tracebackhide__ = True
    if not np.array_equal(np.sort(calibration), np.sort(test)):
        return
    _, counts = np.unique(calibration, return_counts=True)
    if log_chance_of_equal_halves(counts) <= math.log(COINCIDENCE):
        raise SameDataError(
            f"the {len(test)} test images have, one by one, exactly the coverage of the "
            f"{len(calibration)} calibration images: they are the same images"
        )


def _highest(
    calibration: np.ndarray[Any, Any],
    test: np.ndarray[Any, Any],
    threshold_target: float,
    level: float,
    seed: int,
) -> float:
    """The highest mean loss that passes when the test images' losses are scaled down."""
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        if split_p_value(calibration, middle * test, threshold_target, level, seed) > level:
            low = middle
        else:
            high = middle
    return float(low * test.mean())
