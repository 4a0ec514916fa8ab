"""A threshold per class (Mondrian), with a policy for classes that few images hold."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np

from conformal_plugin._choices import FEW
from conformal_plugin.calibration._counting import ScoreCounter
from conformal_plugin.calibration._guarantee import Guarantee
from conformal_plugin.calibration._in_one_call import calibrate_with
from conformal_plugin.calibration._quantile import images_needed
from conformal_plugin.calibration._result import Calibration
from conformal_plugin.calibration._units import ImageShare, Pixels, Unit
from conformal_plugin.calibration._wording import class_list, coverage_share, of_new_images
from conformal_plugin.errors import OptionError, TooFewImagesError

__all__ = [
    "ClassConditionalCalibrator",
    "ClassConditionalImageLevelCalibrator",
    "calibrate_class_conditional",
    "calibrate_class_conditional_image_level",
]


def calibrate_class_conditional(
    scores: Any,
    labels: Any,
    alpha: float = 0.05,
    *,
    few: str = "pool",
    min_images: int | None = None,
    ignore_index: int = 255,
    ids: Iterable[Any] | None = None,
    groups: Any = None,
) -> Calibration:
    """One q-hat per class, from the pooled pixels of that true class. Heuristic.

    Class c's threshold is the ``ceil((N_c + 1)(1 - alpha))``-th smallest nonconformity of its
    ``N_c`` pixels. As with :func:`conformal_plugin.calibrate`, pixels of one image are not
    independent: what counts is ``K_c``, the number of images that hold the class. Both stand in the
    result, ``pixels_per_class`` and ``images_per_class``, and in its ``repr``. With ``groups``
    it is the number of groups that hold the class, ``groups_per_class``.

    Args:
        scores, labels, alpha, ignore_index, ids, groups: as in :func:`conformal_plugin.calibrate`.
        few: what becomes of a class that fewer than ``min_images`` images hold:

            - ``"pool"``: it gets the threshold of all classes together, and so does a class whose
              own would be 1 because the annotator scores it 0 on more than a share alpha of its
              pixels: it would put the class into every set;
            - ``"leave-out"``: it gets ``-math.inf``, so that it is in no prediction set;
            - ``"fail"``: :class:`conformal_plugin.errors.TooFewImagesError` names it.
        min_images: None for ``1 / alpha - 1``, as many as an exact promise per image would need.

    Returns:
        The calibration, ``qhat`` of shape ``(K,)``; ``pooled_classes`` and ``left_out_classes``
        say what the policy did. Exact for separate points.

    Raises:
        TooFewImagesError: few="fail" and a class is held by too few images.
        OptionError: an unknown policy, or ``min_images`` below 1.
        AlphaError, EmptyCalibrationError: as :func:`conformal_plugin.calibrate`.
        InputTypeError, ShapeError, DeviceMismatchError, ScoreError, LabelError: bad input.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> scores, labels = rng.random((30, 3, 8, 8)), rng.integers(0, 2, (30, 8, 8))
        >>> labels[0, 0, 0] = 2
        >>> calibrate_class_conditional(scores, labels, alpha=0.1).pooled_classes
        (2,)
    """
    calibrator = ClassConditionalCalibrator(
        few=few, min_images=min_images, ignore_index=ignore_index
    )
    return calibrate_with(calibrator, scores, labels, alpha, ids, groups)


def calibrate_class_conditional_image_level(
    scores: Any,
    labels: Any,
    alpha: float = 0.05,
    *,
    few: str = "pool",
    ignore_index: int = 255,
    ids: Iterable[Any] | None = None,
    groups: Any = None,
) -> Calibration:
    """One q-hat per class, from the images that hold it, exact: conformal risk control per class.

    ``L_i(q)`` is the share of image i's pixels of true class c that q does not cover, over the
    ``K_c`` images with such pixels; q-hat of class c is as in
    :func:`conformal_plugin.calibration.calibrate_image_level`. A class needs
    ``K_c >= 1 / alpha - 1`` for a finite threshold of its own: 19 images at alpha 0.05. With
    ``groups`` a group's loss is the mean over its images that hold the class, and ``K_c`` counts
    the groups that do.

    Args:
        scores, labels, alpha, ignore_index, ids, groups: as in :func:`conformal_plugin.calibrate`.
        few: what becomes of a class with fewer images than that: ``"pool"``, ``"leave-out"`` or
            ``"fail"``, see :func:`calibrate_class_conditional`.

    Returns:
        The calibration, ``qhat`` of shape ``(K,)``; ``pooled_classes`` and ``left_out_classes``
        say what the policy did. Pooled classes get the image-level threshold of all classes, which
        promises nothing about one of them alone.

    Raises:
        TooFewImagesError: few="fail" and a class is held by too few images.
        OptionError: an unknown policy.
        AlphaError, EmptyCalibrationError: as :func:`conformal_plugin.calibrate`.
        InputTypeError, ShapeError, DeviceMismatchError, ScoreError, LabelError: bad input.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> scores, labels = rng.random((30, 3, 8, 8)), rng.integers(0, 2, (30, 8, 8))
        >>> options = {"alpha": 0.1, "few": "leave-out"}
        >>> float(calibrate_class_conditional_image_level(scores, labels, **options).qhat[2])
        -inf
    """
    calibrator = ClassConditionalImageLevelCalibrator(few=few, ignore_index=ignore_index)
    return calibrate_with(calibrator, scores, labels, alpha, ids, groups)


class _PerClassCounter(ScoreCounter):
    """Counts every class by itself, and all together for those that share a threshold."""

    # Whether a class whose own threshold is 1, and says nothing, shares that of all too.
    _pools_hopeless = False

    def __init__(
        self, unit: Unit, *, few: str, min_images: int | None = None, ignore_index: int
    ) -> None:
        if few not in FEW:
            raise OptionError(f"few must be one of {', '.join(FEW)}, got {few!r}")
        integer = isinstance(min_images, (int, np.integer)) and not isinstance(min_images, bool)
        if min_images is not None and not (integer and min_images >= 1):
            raise OptionError(
                f"min_images must be an integer of at least 1, or None for as many as an exact "
                f"promise needs, got {min_images!r}"
            )
        super().__init__(unit, ignore_index=ignore_index)
        self.few = few
        self.min_images = min_images

    def _group_of_class(self, num_classes: int) -> np.ndarray[Any, Any]:
        return np.arange(num_classes)

    def _calibration(
        self, alpha: float, qhats: np.ndarray[Any, Any], resolution: float
    ) -> Calibration:
        own, pooled = qhats[:-1], qhats[-1]
        least = self.min_images or images_needed(alpha)
        held, unit = self._units_per_class, self._unit_name
        short = (held < least) | np.isinf(own)
        if self._pools_hopeless and self.few == "pool":
            short |= own >= 1.0
        classes = tuple(np.flatnonzero(short).tolist())
        if classes and self.few == "fail":
            counts = ", ".join(f"{c} ({held[c]})" for c in classes)
            raise TooFewImagesError(
                f"alpha {alpha:g} needs at least {least} {unit}s of every class, and these classes "
                f"have fewer ({unit}s in brackets): {counts}; label more {unit}s, raise alpha, or "
                f"choose few='pool' or few='leave-out'"
            )
        qhat = np.where(short, pooled if self.few == "pool" else -math.inf, own)
        promise = self._promise(alpha)
        kept = promise.statement if len(classes) < len(own) else "there is none."
        guarantee = replace(
            promise,
            exact=promise.exact and len(classes) < len(own),
            statement=f"For classes with a threshold of their own: {kept}"
            + self._remark(classes, least),
        )
        return self._result(
            alpha,
            qhat,
            guarantee,
            resolution,
            pooled_classes=classes if self.few == "pool" else (),
            left_out_classes=classes if self.few == "leave-out" else (),
        )

    def _remark(self, classes: tuple[int, ...], least: int) -> str:
        if not classes:
            return ""
        fate = (
            "share the threshold of all classes together, which promises nothing about one class"
            if self.few == "pool"
            else "are left out: in no prediction set"
        )
        scored = " or scored 0 too often" if self._pools_hopeless and self.few == "pool" else ""
        units = f"{least} {self._unit_name}s"
        return f" {class_list(classes)}, held by fewer than {units}{scored}, {fate}."

    @abstractmethod
    def _promise(self, alpha: float) -> Guarantee:
        """What holds for a class with a threshold of its own."""


class ClassConditionalCalibrator(_PerClassCounter):
    """:func:`calibrate_class_conditional` for images that stream by, in constant memory.

    Args:
        few, min_images, ignore_index: as in :func:`calibrate_class_conditional`.

    Example:
        >>> import numpy as np
        >>> rng, calibrator = np.random.default_rng(0), ClassConditionalCalibrator(min_images=2)
        >>> for _ in range(3):
        ...     calibrator.update(rng.random((2, 4, 4)), rng.integers(0, 2, (4, 4)))
        >>> calibrator.result(0.2).images_per_class.tolist()
        [3, 3]
    """

    _options: ClassVar[tuple[str, ...]] = ("few", "min_images", "ignore_index")
    # An exact promise would not survive a choice between two thresholds that the scores make.
    _pools_hopeless = True

    def __init__(
        self, *, few: str = "pool", min_images: int | None = None, ignore_index: int = 255
    ) -> None:
        super().__init__(Pixels(), few=few, min_images=min_images, ignore_index=ignore_index)

    def _promise(self, alpha: float) -> Guarantee:
        share = coverage_share(alpha)
        if self.n_images == self.n_pixels and not self.n_groups:
            return Guarantee(
                "class-conditional",
                "point",
                True,
                f"a new exchangeable point of the class has it in its prediction set with "
                f"probability at least {share}.",
            )
        return Guarantee(
            "class-conditional",
            "pixel",
            False,
            f"on average over calibration sets about {share} of the class's pixels have it in "
            f"their prediction set. Heuristic: the pixels of one {self._unit_name} are not "
            f"independent, so the spread is that of the number of {self._unit_name}s that hold the "
            f"class.",
        )


class ClassConditionalImageLevelCalibrator(_PerClassCounter):
    """:func:`calibrate_class_conditional_image_level` for images that stream by.

    Args:
        few, ignore_index: as in :func:`calibrate_class_conditional_image_level`.

    Example:
        >>> import numpy as np
        >>> rng, calibrator = np.random.default_rng(0), ClassConditionalImageLevelCalibrator()
        >>> for _ in range(9):
        ...     calibrator.update(rng.random((2, 4, 4)), rng.integers(0, 2, (4, 4)))
        >>> calibrator.result(0.1).pooled_classes, calibrator.result(0.05).pooled_classes
        ((), (0, 1))
    """

    _options: ClassVar[tuple[str, ...]] = ("few", "ignore_index")

    def __init__(self, *, few: str = "pool", ignore_index: int = 255) -> None:
        super().__init__(ImageShare(), few=few, ignore_index=ignore_index)

    def _promise(self, alpha: float) -> Guarantee:
        return Guarantee(
            "class-conditional-image-level",
            self._unit_name,
            True,
            f"on average over calibration sets and "
            f"{of_new_images(self._unit_name, ' that hold the class')}, at least "
            f"{coverage_share(alpha)} of the image's pixels of the class have it in their "
            f"prediction set.",
        )
