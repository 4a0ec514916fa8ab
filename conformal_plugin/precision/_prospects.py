"""What a promise on precision can be worth before anything is read: images it takes, and spread."""

from __future__ import annotations

import math
import numbers
from typing import Any

import numpy as np

from conformal_plugin.betting import (
    MOST_AT_HAND,
    MOST_TRIED,
    check_share,
    fewest_equal_losses,
    hoeffding_bentkus_pvalue,
)
from conformal_plugin.errors import OptionError
from conformal_plugin.precision._path import ThresholdPath
from conformal_plugin.precision._target import PrecisionTarget, kept_losses

__all__ = ["precision_images_needed", "realised_share"]


def precision_images_needed(
    epsilon: float,
    delta: float = 0.1,
    *,
    kept: float = 1.0,
    test: str = "betting",
    unlabelled_images: int | None = None,
    path: ThresholdPath | None = None,
) -> int:
    """How many images :func:`calibrate_precision` needs at least to certify ``epsilon``.

    That is without a single wrong label among the kept ones: with fewer images nothing can be kept,
    whatever they hold, and every wrong label asks for more. A bet wins at most a factor
    ``1 + epsilon kept / (1 - epsilon)`` on an image, so that it takes ::

        scouts + ln(1 / (share delta)) / ln(1 + epsilon kept / (1 - epsilon))

    images or more, with the path's ``scouts`` and the largest ``share`` of delta that a start of it
    may spend, 7 and 1 with the default. The number returned is found with the test's own bets.

    Args:
        epsilon, delta, test, unlabelled_images, path: as in :func:`calibrate_precision`; None for
            the default path.
        kept: the share that is kept of what the cap lets through: of all pixels of an image where
            there is no cap, of three tenths of them where the default path begins. With
            ``weighting="pixel"`` of ``max_pixels``; with ``"macro"`` it does not matter, pass 1.

    Raises:
        OptionError: a share outside its range, another test, or more than a million images (of a
            promise for ``unlabelled_images``, more than 16,384).

    Example:
        >>> precision_images_needed(0.05), precision_images_needed(0.1)
        (52, 29)
        >>> precision_images_needed(0.05, kept=0.5)
        96
    """
    target = PrecisionTarget(epsilon, delta, test=test, unlabelled_images=unlabelled_images)
    share = _checked_kept(kept)
    path = path or ThresholdPath.capped_foreground_first()
    unlabelled = target.unlabelled_images
    fewest = fewest_equal_losses(
        float(kept_losses(0, share, 1, target.epsilon, "share")),
        target.epsilon,
        aim=float(path.aims(target.delta).max()),
        test=target.test,
        unlabelled=unlabelled,
    )
    if fewest is None:
        most = MOST_TRIED if unlabelled is None else MOST_AT_HAND
        of_these = "" if unlabelled is None else f", promised for {unlabelled} unlabelled images,"
        raise OptionError(
            f"epsilon {epsilon:g} with a share {share:g} kept{of_these} takes more than {most:,} "
            f"images; ask for a larger epsilon"
        )
    return path.scouts + fewest


def realised_share(
    epsilon: float, images: int, *, confidence: float = 0.9, kept: float = 1.0
) -> float:
    """The share of wrong labels that a number of new images stays below, where a promise is kept.

    A promise on precision is about the population that images are drawn from. On a user's own
    images the share itself scatters, and may lie above epsilon. If the promise is kept, then with
    probability at least ``confidence`` the kept labels of ``images`` new ones, drawn independently
    of the calibration images, are wrong at most this share, each image counting alike
    (``weighting="share"``), however its pixels are correlated. Hoeffding's and Bentkus's bounds on
    the mean of the images' losses (arXiv 2101.02703) hold for every law of the losses, so most
    realised shares are much smaller. The confidence is given the promise: with its delta both hold
    with ``confidence - delta``.

    Args:
        epsilon: the promised share.
        images: how many new images there are.
        confidence: in (0, 1).
        kept: the mean share of their pixels that keep a label, in (0, 1]; ``evaluate`` and
            ``filter`` say it. Where the calibration has a cap, divided by it.

    Returns:
        A share in (0, 1].

    Raises:
        OptionError: a share outside its range, or no image.

    Example:
        >>> print(f"{realised_share(0.05, 50):.3f} {realised_share(0.05, 1000):.3f}")
        0.128 0.064
    """
    bound = check_share(epsilon, "epsilon")
    level = 1 - check_share(confidence, "confidence")
    share = _checked_kept(kept)
    whole = isinstance(images, (int, np.integer)) and not isinstance(images, bool)
    if not whole or images < 1:
        raise OptionError(f"images must be a positive integer, got {images!r}")
    # P(mean loss >= x) for a mean of epsilon is P(mean gain <= 1 - x) for one of 1 - epsilon.
    low, high = bound, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        rare = hoeffding_bentkus_pvalue(np.full(images, 1 - middle), 1 - bound) <= level
        low, high = (low, middle) if rare else (middle, high)
    # Losses are (wrong + epsilon (1 - kept)), so their mean above epsilon is all that is wrong
    # above epsilon kept.
    return min(1.0, bound + (high - bound) / share)


def _checked_kept(kept: Any) -> float:
    number = isinstance(kept, numbers.Real) and not isinstance(kept, bool)
    if not number or not 0.0 < float(kept) <= 1.0 or math.isnan(float(kept)):
        raise OptionError(
            f"kept must be a share of pixels in (0, 1], got {kept!r}; 1 where all keep a label"
        )
    return float(kept)
