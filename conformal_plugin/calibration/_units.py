"""What one observation is: how an image's covered pixels add up, and how much of it is needed.

Every calibration here is one sentence: q-hat is the smallest threshold at which the *credit* of the
calibration images reaches what is *needed*. The credit of an image is an integer that grows with
its number of covered pixels (those whose true class is in the prediction set), so that sums of it
are exact in any order.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, ClassVar, Protocol

import numpy as np

from conformal_plugin.calibration._quantile import conformal_rank, exact_alpha
from conformal_plugin.errors import OptionError

__all__ = ["ImageShare", "ImagesCovered", "Pixels", "Totals", "Unit"]

_SCALE = 2**36
_MOST_IMAGES = 2**63 // _SCALE


@dataclass(frozen=True)
class Totals:
    """What has been counted.

    Attributes:
        pixels: number of pixels.
        images: number of images with at least one of them.
        size_lcm: least common multiple of the images' pixel counts; 0 where it is too large to
            matter, see :func:`capped_lcm`.
        roundings: how often something was rounded down, by less than one step each time.

    Where images come in groups, ``images`` counts groups, and ``size_lcm`` is the least common
    multiple of each one's number of images times that of their pixel counts.
    """

    pixels: int
    images: int
    size_lcm: int
    roundings: int = 0


class Unit(Protocol):
    """One way to add up the images.

    Attributes:
        additive: whether an image's credit is its number of covered pixels.
    """

    @property
    def additive(self) -> bool:
        """See above."""

    def credit(self, covered: np.ndarray[Any, Any], total: int) -> np.ndarray[Any, Any]:
        """The int64 credit of an image with ``covered`` (int64, any shape) of ``total`` pixels."""

    def need(self, totals: Totals, alpha: Any) -> int:
        """The summed credit at which q-hat is reached."""

    def group_credit(self, summed: np.ndarray[Any, Any], images: int) -> np.ndarray[Any, Any]:
        """The int64 credit of a group of ``images`` images, of which theirs sum to ``summed``."""

    def group_need(self, totals: Totals, alpha: Any) -> int:
        """The summed credit of groups at which q-hat is reached."""


class Pixels:
    """Every pixel is an observation: split conformal prediction on the pooled pixels."""

    additive = True

    def credit(self, covered: np.ndarray[Any, Any], total: int) -> np.ndarray[Any, Any]:
        """The covered pixels."""
        return covered

    def need(self, totals: Totals, alpha: Any) -> int:
        """``ceil((n + 1)(1 - alpha))`` of the n pixels."""
        return conformal_rank(totals.pixels, alpha)

    def group_credit(self, summed: np.ndarray[Any, Any], images: int) -> np.ndarray[Any, Any]:
        """The pixels, which count one by one in a group too."""
        return summed

    def group_need(self, totals: Totals, alpha: Any) -> int:
        """As without groups."""
        return self.need(totals, alpha)


class ImageShare:
    """Every image is an observation, its covered share is averaged: conformal risk control.

    Shares are kept as integers in steps of 2**-36, rounded down. The rounded loss is itself a
    monotone loss in [0, 1] and no smaller than the true one, so the promise holds exactly; q-hat
    can be one score larger than the unrounded formula's where the images' mean share comes within
    2**-36 of what is needed. Even that cannot happen when the images have few distinct sizes
    (K times the least common multiple of their pixel counts at most 2**36, so always when all
    have one size and there are fewer than 6.8e10 pixels): sums of shares are then so far apart
    that the rounded sum tells them apart.
    """

    additive = False

    def credit(self, covered: np.ndarray[Any, Any], total: int) -> np.ndarray[Any, Any]:
        """``floor(2**36 covered / total)``."""
        return covered * _SCALE // total

    def need(self, totals: Totals, alpha: Any) -> int:
        """``(K + 1)(1 - alpha)`` images' worth.

        ``(sum_i L_i + 1) / (K + 1) <= alpha`` of conformal risk control (arXiv 2208.02814) and the
        quantile of hierarchical conformal prediction (arXiv 2306.06342) are both
        ``sum_i (1 - L_i) >= (K + 1)(1 - alpha)``, L_i the share of image i that is not covered.
        """
        return _shares_needed(totals, alpha)

    def group_credit(self, summed: np.ndarray[Any, Any], images: int) -> np.ndarray[Any, Any]:
        """The mean of its images' shares, rounded down."""
        return summed // images

    def group_need(self, totals: Totals, alpha: Any) -> int:
        """``(groups + 1)(1 - alpha)`` groups' worth."""
        return _shares_needed(totals, alpha)


@dataclass(frozen=True)
class ImagesCovered:
    """Every image is an observation, covered when at least a share tau of its pixels is.

    The image's score is the smallest q that covers a share tau of its pixels, and q-hat is split
    conformal prediction's order statistic of these scores.
    """

    tau: Fraction
    additive: ClassVar[bool] = False

    def credit(self, covered: np.ndarray[Any, Any], total: int) -> np.ndarray[Any, Any]:
        """One where ``covered / total >= tau``, else zero."""
        return (covered >= math.ceil(self.tau * total)).astype(np.int64)

    def need(self, totals: Totals, alpha: Any) -> int:
        """``ceil((K + 1)(1 - alpha))`` of the K images."""
        return conformal_rank(totals.images, alpha)

    def group_credit(self, summed: np.ndarray[Any, Any], images: int) -> np.ndarray[Any, Any]:
        """The share of its images that are covered, in steps of 2**-36, rounded down."""
        return summed * _SCALE // images

    def group_need(self, totals: Totals, alpha: Any) -> int:
        """``(groups + 1)(1 - alpha)`` groups' worth: not an order statistic any more."""
        return _shares_needed(totals, alpha)


def _shares_needed(totals: Totals, alpha: Any) -> int:
    """``(K + 1)(1 - alpha)`` of K images or groups, whose shares count in steps of 2**-36."""
    units, multiple, lost = totals.images, totals.size_lcm, totals.roundings
    if units >= _MOST_IMAGES:
        raise OptionError(
            f"at most {_MOST_IMAGES - 1} images can be added up exactly, got {units}; "
            f"calibrate on fewer"
        )
    needed = (units + 1) * (1 - exact_alpha(alpha))
    if 0 < lost * multiple <= _SCALE and needed <= units:
        # Sums of shares are multiples of 1 / multiple, and rounding lost less than `lost`.
        steps = math.ceil(needed * multiple)
        return steps * _SCALE // multiple - lost + 1
    return math.ceil(needed * _SCALE)


def capped_lcm(first: int, second: int) -> int:
    """The least common multiple, or 0 (which then stays) where it is too large to be of use."""
    multiple = math.lcm(first, second)
    return multiple if multiple <= _SCALE else 0
