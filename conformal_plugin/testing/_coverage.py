"""The assertion for a user's suite: is this evaluation's coverage what the calibration promises?"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformal_plugin.betting import by_group
from conformal_plugin.calibration import conformal_rank, exact_alpha
from conformal_plugin.errors import OptionError
from conformal_plugin.scores import LabelContent
from conformal_plugin.testing._confidence import require_confident
from conformal_plugin.testing._disjoint import require_disjoint
from conformal_plugin.testing._exchangeability import log_chance_of_equal_halves
from conformal_plugin.testing._failures import CoverageError, SameDataError
from conformal_plugin.testing._groups import (
    labels_of,
    require_other_groups,
    require_same_unit,
    summed_by_group,
)
from conformal_plugin.testing._images import (
    COINCIDENCE,
    image_level_target,
    require_exchangeable,
    require_losses,
    require_other_images,
)
from conformal_plugin.testing._laws import checked_count, checked_rate
from conformal_plugin.testing._points import assert_point_coverage

if TYPE_CHECKING:
    from conformal_plugin.calibration import Calibration
    from conformal_plugin.evaluation import Evaluation

__all__ = ["assert_coverage"]


def assert_coverage(
    evaluation: Evaluation,
    calibration: Calibration,
    *,
    calibration_evaluation: Evaluation | None = None,
    calibration_ids: Iterable[object] | None = None,
    test_ids: Iterable[object] | None = None,
    largest_image: int | None = None,
    groups: Any = None,
    calibration_groups: Any = None,
    false_alarm: float = 1e-3,
) -> None:
    """Fail when coverage on labelled test data is too low to be chance.

    The null hypothesis: calibration and test data are exchangeable, unit by unit, and the
    threshold is the one that the calibration's rule gives. What is a unit, and so which test, is
    read off ``calibration.guarantee``:

    - points (``"marginal"``): the beta-binomial law of the covered points;
    - images at image level: :func:`assert_image_coverage`, which holds for every law and any
      correlation within images, or, with ``calibration_evaluation``,
      :func:`assert_exchangeable_coverage`, which sees much smaller failures;
    - images with a stated confidence (``"confidence"``): :func:`assert_confident_coverage`, of the
      population's coverage at this threshold;
    - pixels of images (``"pixel-marginal"``): no theorem gives a coverage, but exchangeable images
      still make a threshold that is too low improbable; the tests are the same, on
      ``alpha + (missed - alpha * valid) / largest_image`` as each image's loss.

    For a calibration with groups (videos, patients, scenes) the group takes the place of the image
    in all of this: at image level by the mean of its images' coverage, for pixels by their sum.

    Calibration on the test data makes coverage look nominal, so coverage itself cannot show it.
    It is found by ids, where both lists are given; and whatever the ids say by the content: with
    ``calibration_evaluation``, when the images have one by one the same coverage; otherwise when
    the images have one by one the same number of labelled pixels of every class and chance cannot
    explain it. Images that are alike in this (of one layout, or of one class alone), and fewer than
    twenty that hold the same classes, are told by ids and ``calibration_evaluation`` only. Test
    images of which only some are calibration images are found by their ids alone.

    Args:
        evaluation: of test data, by :func:`conformal_plugin.evaluate` with ``calibration``.
        calibration: what is tested, with one threshold for all classes.
        calibration_evaluation: the same of the calibration data, with the same threshold.
        calibration_ids: ids of the calibration images, at least as many different ones as images
            with a labelled pixel. ``x`` and ``x.png`` are one id.
        test_ids: ids of the test images, likewise.
        largest_image: the most labelled pixels that an image of either set can have (``H * W``
            of the largest), or a group; needed for pixel calibrations of images, without
            ``calibration_evaluation``.
        groups: the group of each test image, where the calibration is of groups: one per measured
            image, in the order in which they were evaluated (without those that have no labelled
            pixel), or a mapping from id to group, with ``test_ids`` for exactly these images.
        calibration_groups: the same of ``calibration_evaluation``'s images.
        false_alarm: rate at which a sound calibration fails with CoverageError, at most. The checks
            that the sets differ add 1e-5 at most, but for fewer than twenty images (and for
            calibrations of release 0.1.0, of which the sums alone are known), where the chance is
            estimated from how many images hold each class. Other images with the very same counts
            (made ones, with the same label maps) pass with ids and ``calibration_evaluation``.

    Raises:
        CoverageError: coverage too low to be chance; an ``AssertionError``.
        SameDataError: test data that is calibration data, or of one group with some.
        OptionError: arguments that contradict each other, or a guarantee that has an assertion of
            its own.

    Example:
        >>> import numpy as np
        >>> from conformal_plugin import calibrate, evaluate
        >>> rng = np.random.default_rng(0)
        >>> labels = rng.integers(0, 3, 1000)
        >>> scores = rng.dirichlet(np.ones(3), 1000)
        >>> calibration = calibrate(scores[:400], labels[:400], alpha=0.1)
        >>> assert_coverage(evaluate(scores[400:], labels[400:], calibration), calibration)
        >>> poor = evaluate(scores[400:], labels[400:], 0.5)
        >>> assert_coverage(poor, calibration)  # doctest: +ELLIPSIS
        Traceback (most recent call last):
            ...
        conformal_plugin.testing._failures.CoverageError: coverage ... is too low to be chance: ...
    """
    __tracebackhide__ = True
    rate = checked_rate("false_alarm", false_alarm)
    if np.ndim(calibration.qhat):
        raise OptionError(
            "this calibration has one threshold per class; judge each class by itself, with "
            "assert_image_coverage or assert_point_coverage and that class's counts"
        )
    if evaluation.num_classes != calibration.num_classes:
        raise OptionError(
            f"the evaluation has {evaluation.num_classes} classes and the calibration "
            f"{calibration.num_classes}; evaluate with the annotator that was calibrated"
        )
    require_same_unit(calibration, groups)
    named = require_disjoint(
        calibration_ids, test_ids, calibration_images=calibration.n_images, test=evaluation.n_images
    )
    if calibration_evaluation is not None:
        _require_same_size(calibration_evaluation, calibration)
    name = calibration.guarantee.name
    # Ids may be wrong, so content is compared all the same: image by image where it can be.
    if calibration_evaluation is None or not named:
        _require_other_counts(evaluation, calibration)
    units = _Units.of(
        evaluation,
        calibration_evaluation,
        labels_of(groups, evaluation.n_images, test_ids),
        _calibration_labels(calibration_evaluation, calibration_groups, calibration_ids, groups),
    )
    if name == "marginal":
        _assert_points(evaluation, calibration, calibration_evaluation, rate)
    elif name == "pixel-marginal":
        _assert_pixels(units.summed(), calibration, largest_image, rate)
    elif name == "image-level":
        _assert_images(units, calibration, rate)
    elif name == "confidence":
        _assert_confidence(units, calibration, rate)
    else:
        raise OptionError(
            f"a calibration with the guarantee {name!r} has an assertion of its own: "
            f"assert_image_wise_coverage for the image-wise quantile, assert_precision for "
            f"precision control, else assert_image_coverage with the coverage of its unit"
        )


_COINCIDENCE_OF_IMAGES = 1e-3  # before the pixels' agreement, which is not counted


def _assert_points(
    evaluation: Evaluation,
    calibration: Calibration,
    calibration_evaluation: Evaluation | None,
    rate: float,
) -> None:
    __tracebackhide__ = True
    if evaluation.n_images != evaluation.n_pixels:
        raise OptionError(
            f"the calibration is of {calibration.n_pixels} separate points and the evaluation of "
            f"{evaluation.n_images} images with {evaluation.n_pixels} pixels, which are not "
            f"exchangeable with points; evaluate points, or calibrate on images"
        )
    n, alpha = calibration.n_pixels, calibration.alpha
    if calibration_evaluation is not None:
        _require_rank(calibration_evaluation, calibration, rate)
        confusion = calibration_evaluation.confusion
        if np.array_equal(evaluation.confusion, confusion) and _is_no_chance(confusion.ravel()):
            raise SameDataError(
                f"the {n} test points have exactly the calibration points' confusion matrix"
            )
    assert_point_coverage(
        evaluation.covered, evaluation.n_pixels, n_calibration=n, alpha=alpha, false_alarm=rate
    )


@dataclass(frozen=True)
class _Units:
    """What was measured, and by which groups; ``own`` is of the calibration data."""

    test: Evaluation
    own: Evaluation | None
    groups: list[str] | None
    own_groups: list[str] | None

    @classmethod
    def of(
        cls,
        test: Evaluation,
        own: Evaluation | None,
        groups: list[str] | None,
        own_groups: list[str] | None,
    ) -> _Units:
        __tracebackhide__ = True
        require_other_groups(own_groups or (), groups or ())
        return cls(test, own, groups, own_groups)

    @property
    def name(self) -> str:
        """What is exchangeable."""
        return "image" if self.groups is None else "group"

    def summed(self) -> _Units:
        """A group's pixels in the place of an image's."""
        if self.groups is None:
            return self
        own = self.own
        if own is not None and self.own_groups is not None:
            own = summed_by_group(own, self.own_groups)
        return replace(self, test=summed_by_group(self.test, self.groups), own=own)


def _calibration_labels(
    own: Evaluation | None, own_groups: Any, ids: Iterable[object] | None, groups: Any
) -> list[str] | None:
    __tracebackhide__ = True
    if own is None or groups is None:
        return None
    if own_groups is None:
        raise OptionError(
            "calibration_evaluation is of images in groups: pass calibration_groups, that of each"
        )
    return labels_of(own_groups, own.n_images, ids, "calibration_groups")


def _assert_images(units: _Units, calibration: Calibration, rate: float) -> None:
    __tracebackhide__ = True
    target = float(1 - exact_alpha(calibration.alpha))
    threshold_target = image_level_target(calibration.n_units, calibration.alpha)
    losses = by_group(1 - units.test.image_coverage, units.groups)
    if units.own is None:
        require_losses(
            calibration.n_units,
            threshold_target,
            len(losses),
            float(losses.mean()),
            target=target,
            false_alarm=rate,
            unit=units.name,
        )
    else:
        require_exchangeable(
            by_group(1 - units.own.image_coverage, units.own_groups),
            threshold_target,
            losses,
            target=target,
            false_alarm=rate,
            unit=units.name,
        )


def _assert_confidence(units: _Units, calibration: Calibration, rate: float) -> None:
    __tracebackhide__ = True
    losses = 1 - units.test.image_coverage
    if units.own is not None:
        require_other_images(1 - units.own.image_coverage, losses)
    require_confident(
        losses,
        calibration.alpha,
        groups=units.groups,
        false_alarm=rate,
        n_calibration=calibration.n_units,
    )


def _assert_pixels(
    units: _Units, calibration: Calibration, largest_image: int | None, rate: float
) -> None:
    """Each image's loss is ``alpha + (missed - alpha * valid) / largest``, which falls in q too.

    The rank leaves at most ``alpha N - (1 - alpha)`` of N calibration pixels missed, so the mean
    calibration loss is at most ``alpha - (1 - alpha) / (n * largest)`` however many pixels there
    are. An infinite threshold misses nothing.
    """
    __tracebackhide__ = True
    evaluation, calibration_evaluation = units.test, units.own
    if calibration_evaluation is None:
        largest = _checked_largest(evaluation, calibration, largest_image)
    else:  # symmetric in the images of both sets, as an exchangeability test needs
        sizes = (evaluation.image_pixels, calibration_evaluation.image_pixels)
        largest = max(int(pixels.max()) for pixels in sizes)
    alpha = float(exact_alpha(calibration.alpha))
    n, m = calibration.n_units, evaluation.n_images
    infinite = conformal_rank(calibration.n_pixels, calibration.alpha) > calibration.n_pixels
    missed = 1 - evaluation.coverage
    if infinite:
        require_losses(n, -1.0, m, missed, target=1 - alpha, false_alarm=rate, unit=units.name)
        return
    threshold_target = alpha - (1 - alpha) / (n * largest)
    if calibration_evaluation is None:
        filled = evaluation.n_pixels / (m * largest)
        require_losses(
            n,
            threshold_target,
            m,
            alpha + (missed - alpha) * filled,
            target=1 - alpha,
            false_alarm=rate,
            measure=lambda loss: 1 - alpha - (loss - alpha) / filled,
            unit=units.name,
        )
        return
    _require_rank(calibration_evaluation, calibration, rate)
    own, test = (
        alpha + (e.image_pixels - e.image_covered - alpha * e.image_pixels) / largest
        for e in (calibration_evaluation, evaluation)
    )
    require_exchangeable(
        own,
        threshold_target,
        test,
        target=1 - alpha,
        false_alarm=rate,
        measure=lambda loss: 1 - alpha - (loss - alpha) * len(test) * largest / evaluation.n_pixels,
        unit=units.name,
    )


def _checked_largest(
    evaluation: Evaluation, calibration: Calibration, largest_image: int | None
) -> int:
    if largest_image is None:
        raise OptionError(
            "a pixel calibration of images needs largest_image, the most labelled pixels that an "
            "image of either set can have: H * W of the largest, or of all if they are of one size"
        )
    largest = checked_count("largest_image", largest_image)
    unit = "image" if calibration.n_groups is None else "group"
    sources = (
        ("calibration", calibration.n_pixels, calibration.n_units),
        ("evaluation", evaluation.n_pixels, evaluation.n_images),
    )
    for name, pixels, units in sources:
        if pixels > units * largest:
            raise OptionError(
                f"largest_image is {largest}, but the {name} has {pixels} pixels in "
                f"{units} {unit}s, more than that each; pass the pixels of the largest {unit}"
            )
    return largest


def _require_same_size(calibration_evaluation: Evaluation, calibration: Calibration) -> None:
    __tracebackhide__ = True
    ours = (calibration_evaluation.n_images, calibration_evaluation.n_pixels)
    theirs = (calibration.n_images, calibration.n_pixels)
    if ours != theirs:
        raise OptionError(
            f"calibration_evaluation must be of the calibration data: it has {ours[0]} images and "
            f"{ours[1]} pixels, calibration read {theirs[0]} and {theirs[1]}; evaluate the same "
            f"images with the same ignore_index"
        )


def _require_rank(
    calibration_evaluation: Evaluation, calibration: Calibration, rate: float
) -> None:
    """The calibrated threshold covers at least ``ceil((n + 1)(1 - alpha))`` of its own scores."""
    __tracebackhide__ = True
    n = calibration.n_pixels
    needed = min(n, conformal_rank(n, calibration.alpha))
    if calibration_evaluation.covered < needed:
        raise CoverageError(
            observed=calibration_evaluation.coverage,
            target=float(1 - exact_alpha(calibration.alpha)),
            lowest=needed / n,
            p_value=0.0,
            false_alarm=rate,
            n_calibration=n,
            n_test=n,
            unit="point",
            null="the threshold was calibrated on this data (the calibration data itself)",
            counts=f"{calibration_evaluation.covered} of the {n} calibration scores are covered, "
            f"and calibration covers {needed} or more",
        )


def _require_other_counts(evaluation: Evaluation, calibration: Calibration) -> None:
    """Raise for sets that agree in each class's counts when chance cannot explain it.

    For points the chance is exact. So it is for images that agree one by one: exchangeable sets
    would part the kinds of images so evenly. Where there are too few for that, or their sums alone
    are known, it is that of agreeing, class by class, in how many images hold the class (only
    classes that some images lack say anything); agreeing in pixels too is rarer still.
    """
    __tracebackhide__ = True
    n, units = calibration.n_images, calibration.images_per_class
    same = (
        evaluation.n_images == n
        and np.array_equal(evaluation.confusion.sum(axis=1), calibration.pixels_per_class)
        and max(evaluation.coverage, evaluation.image_coverage.mean())
        >= 1 - calibration.alpha - 1 / n
    )
    if not same:
        return
    kinds = _kinds_of_images(evaluation, calibration)
    if calibration.n_pixels == n:
        impossible = _is_no_chance(units)
    elif kinds is not None and not len(kinds):
        return
    else:
        chances = [log_chance_of_equal_halves([held, n - held]) for held in units.tolist()]
        impossible = sum(chances) <= math.log(_COINCIDENCE_OF_IMAGES)
        impossible |= kinds is not None and _is_no_chance(kinds)
    if impossible:
        raise SameDataError(
            f"the {n} test {'points' if calibration.n_pixels == n else 'images'} have exactly the "
            f"calibration data's number of labelled pixels of every class"
            f"{'' if kinds is None else ', image by image'} ({evaluation.n_pixels} in all); if "
            f"they are other data, pass calibration_ids and test_ids, and calibration_evaluation, "
            f"which compares the coverage of each image"
        )


def _kinds_of_images(
    evaluation: Evaluation, calibration: Calibration
) -> np.ndarray[Any, Any] | None:
    """How many of these images have the same pixels by class, for all that differ in them.

    Empty where these are not the calibration images' pixels, image by image; None where it is not
    known.
    """
    prints = evaluation.image_fingerprints
    if prints is None or calibration.label_content is None:
        return None
    if LabelContent.of(prints.tolist()).total != calibration.label_content:
        return np.zeros(0, dtype=np.int64)
    return np.asarray(np.unique(prints, return_counts=True)[1])


def _is_no_chance(counts: np.ndarray[Any, Any]) -> bool:
    return log_chance_of_equal_halves(counts) <= math.log(COINCIDENCE)
