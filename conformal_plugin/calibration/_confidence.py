"""Coverage per image with a stated confidence: risk-controlling prediction sets, by betting."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import numpy as np

from conformal_plugin.betting import betting_order, betting_pvalue, check_share
from conformal_plugin.calibration._confident_size import confident_images_needed
from conformal_plugin.calibration._counting import ScoreCounter
from conformal_plugin.calibration._guarantee import Guarantee
from conformal_plugin.calibration._in_one_call import calibrate_with
from conformal_plugin.calibration._place_credits import PLACES, PlaceCredits, covered_at_places
from conformal_plugin.calibration._qhat import ReadAgain, Total
from conformal_plugin.calibration._quantile import exact_alpha
from conformal_plugin.calibration._result import Calibration
from conformal_plugin.calibration._units import ImageShare
from conformal_plugin.calibration._wording import coverage_share
from conformal_plugin.errors import OptionError, ShapeError
from conformal_plugin.scores import TrueScores

__all__ = ["ConfidenceCalibrator", "calibrate_with_confidence", "confidence_shortage"]

_AT_ONCE = 2**20
"""Losses that are bet on at a time."""


def calibrate_with_confidence(
    scores: Any,
    labels: Any,
    alpha: float = 0.05,
    delta: float = 0.1,
    *,
    ignore_index: int = 255,
    ids: Iterable[Any] | None = None,
    groups: Any = None,
) -> Calibration:
    """A q-hat whose coverage is at least ``1 - alpha`` in the population, in most calibrations.

    With probability at least ``1 - delta`` over the calibration images, the expected covered share
    of a new image at the returned threshold is at least ``1 - alpha``, if all images are
    independent draws of one distribution, however correlated the pixels of an image are. The
    threshold of :func:`calibrate_image_level` covers ``1 - alpha`` on average over calibration
    sets, and less with some of them; this one is higher, and is a promise of the set at hand.

    Risk-controlling prediction sets (arXiv 2101.02703) as a fixed sequence of tests (Learn then
    Test, arXiv 2110.01052). Some two thousand thresholds that were fixed beforehand are tested from
    the largest down, each by bets of one image after the other against "the expected loss is at
    least alpha" (:func:`conformal_plugin.betting.betting_pvalue`), an image's loss being the share
    of its pixels whose true class is not in the prediction set. q-hat is the last threshold before
    the first whose p-value is above delta. To promise too little of a population, the first tested
    threshold that does not cover ``1 - alpha`` of it would have to pass, which has a probability of
    at most delta.

    Where images come in ``groups``, bets are on these, and a group's loss is the mean of its
    images' losses: the promise is for a random image of a new group, groups being independent.

    Args:
        scores, labels, alpha, ignore_index, groups: as in :func:`conformal_plugin.calibrate`, but
            images alone: of separate points :func:`conformal_plugin.testing.coverage_law` is the
            exact law.
        delta: the probability with which the calibration images may mislead, in (0, 1).
        ids: one per image: bets are in the order of a hash of them, so that the same images give
            the same threshold in whatever order they come. Without ids they are in the order of a
            hash of the images' numbers: do not sort images by what was measured on them.

    Returns:
        The calibration; q-hat is infinite where no threshold passes, as it must with fewer than
        :func:`conformal_plugin.calibration.confident_images_needed` images, 45 at alpha .05 and 22
        at .1. ``resolution`` is 0: the threshold is one of those that were fixed.

    Raises:
        AlphaError, OptionError, EmptyCalibrationError: as :func:`conformal_plugin.calibrate`; also
            delta outside (0, 1), or ids for some images and not for others.
        ShapeError: separate points, or another bad shape.
        InputTypeError, DeviceMismatchError, ScoreError, LabelError: bad input.

    Example:
        >>> import numpy as np
        >>> scores = np.random.default_rng(0).random((60, 2, 8, 8)).astype(np.float16)
        >>> labels = np.zeros((60, 8, 8), int)
        >>> sure = calibrate_with_confidence(scores, labels, alpha=0.1, delta=0.05)
        >>> sure.guarantee.exact, sure.guarantee.unit, sure.delta
        (True, 'image', 0.05)
    """
    calibrator = ConfidenceCalibrator(delta, ignore_index=ignore_index)
    return calibrate_with(calibrator, scores, labels, alpha, ids, groups)


class ConfidenceCalibrator(ScoreCounter):
    """:func:`calibrate_with_confidence` for images that stream by.

    What each image covers is kept at the thresholds that will be tested, 16 kB an image (or a
    group), whatever its size.

    Args:
        delta: the probability with which the calibration images may mislead, in (0, 1).
        ignore_index: label of pixels to leave out.

    Example:
        >>> import numpy as np
        >>> rng, calibrator = np.random.default_rng(0), ConfidenceCalibrator(0.1)
        >>> for i in range(21):
        ...     calibrator.update(rng.random((2, 4, 4)), np.zeros((4, 4), int), ids=[f"photo {i}"])
        >>> calibrator.result(0.1).qhat, calibrator.result(0.3).informative
        (inf, True)
    """

    _options: ClassVar[tuple[str, ...]] = ("delta", "ignore_index")

    def __init__(self, delta: float = 0.1, *, ignore_index: int = 255) -> None:
        self.delta = check_share(delta, "delta")
        super().__init__(ImageShare(), ignore_index=ignore_index)
        self._places = PlaceCredits()

    def merge(self, other: Any) -> Any:
        """Add the counts of ``other`` to these; returns this calibrator.

        Images without ids are numbered on: the order of merging is then that of arrival.

        Raises:
            OptionError: made with other options, the same id counted by both, or ids here and none
                there.
            InputTypeError: a calibrator of another kind, or one of scores of another dtype.
            ShapeError: the other has counted another number of classes.
        """
        alike = not isinstance(other, type(self)) or self._named == other._named
        if not alike and None not in (self._named, other._named):
            raise OptionError(
                "some images came with ids and some without; pass ids for all of them or for none"
            )
        return super().merge(other)

    def result(self, alpha: float = 0.05) -> Calibration:
        """The calibration at ``alpha``; counting may go on afterwards.

        The promise holds for an alpha and a delta that were chosen beforehand, and for one look.

        Raises:
            AlphaError: alpha outside (0, 1).
            EmptyCalibrationError: no pixel has been counted.
        """
        exact_alpha(alpha)
        self._begun()
        return self._calibration(alpha, np.array([self._threshold(alpha)]), 0.0)

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """All that was counted, as plain arrays that ``numpy.savez`` stores without pickling."""
        return {**super().state(), **self._places.state()}

    def _exactly(
        self, alpha: float, again: ReadAgain, total: Total = lambda read: read()
    ) -> Calibration:
        # The thresholds are fixed, so that there is nothing to narrow down by reading again.
        return self.result(alpha)

    @property
    def _named(self) -> bool | None:
        """Whether images have ids; None where there are none yet, or where groups have names."""
        return bool(self._ids.seen) if self.n_images and self.n_groups is None else None

    @property
    def _per_group(self) -> bool:
        return False  # places have what is asked of groups

    def _absorb(self, true: TrueScores, rows: list[tuple[int, np.ndarray[Any, Any]]]) -> None:
        if true.points:
            raise ShapeError(
                "coverage with confidence is of images, got separate points (N, K); their coverage "
                "has an exact law, conformal_plugin.testing.coverage_law, by which to choose alpha "
                "and n"
            )
        super()._absorb(true, rows)
        for _, counts in rows:
            covered = covered_at_places(counts, self._counted().grid)
            credits = self._unit.credit(covered, int(counts.sum()))
            name = str(len(self._places)) if true.name is None else true.name
            self._places.add(name if true.group is None else true.group, credits)

    def _add_counts(self, other: ConfidenceCalibrator) -> None:
        super()._add_counts(other)
        numbered = other._named is False
        self._places.merge(other._places, numbered_from=len(self._places) if numbered else None)

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self._places = PlaceCredits.from_state(state)

    def _threshold(self, alpha: float) -> float:
        """The last of the fixed thresholds before the first that fails its test; inf for none."""
        names = [self._places.names[i] for i in betting_order(self._places.names)]
        credits = self._places.mean(names)
        whole = int(self._unit.credit(np.ones(1, dtype=np.int64), 1)[0])
        last = math.inf
        step = max(1, _AT_ONCE // len(names))
        for first in range(0, len(PLACES), step):
            losses = 1.0 - credits[:, first : first + step] / whole
            passed = betting_pvalue(losses, float(exact_alpha(alpha)), aim=self.delta) <= self.delta
            failed = np.flatnonzero(~passed)
            here = first + (int(failed[0]) if len(failed) else len(passed))
            last = float(PLACES[here - 1]) if here else last
            if len(failed):
                break
        return last

    def _calibration(
        self, alpha: float, qhats: np.ndarray[Any, Any], resolution: float
    ) -> Calibration:
        unit, units = self._unit_name, self.n_groups or self.n_images
        which = "images" if unit == "image" else "the images of a group and over groups"
        statement = (
            f"With probability at least {100 * (1 - self.delta):g} % over the calibration "
            f"{unit}s, at least {coverage_share(alpha)} of a new image's pixels have their true "
            f"class in the prediction set on average over {which}, if all {unit}s are independent "
            f"draws of one distribution.{confidence_shortage(alpha, self.delta, units, unit)}"
        )
        guarantee = Guarantee("confidence", unit, True, statement)
        return self._result(alpha, qhats[0], guarantee, resolution, delta=self.delta)


def confidence_shortage(alpha: float, delta: float, images: int, unit: str = "image") -> str:
    """Why q-hat is infinite; empty where there are images, or groups, enough for a finite one."""
    needed = confident_images_needed(alpha, delta)
    if images >= needed:
        return ""
    return (
        f" Here q-hat is infinite: alpha {alpha:g} at delta {delta:g} needs at least {needed} "
        f"{unit}s, and there are {images}."
    )
