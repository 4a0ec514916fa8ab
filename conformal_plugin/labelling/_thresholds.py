"""A threshold per class, in the dtype of the scores, and whether it leaves any class out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from conformal_plugin.calibration import Calibration
from conformal_plugin.errors import OptionError, ShapeError, UninformativeThresholdError
from conformal_plugin.scores import ScoreGrid

__all__ = [
    "Least",
    "class_thresholds",
    "every_class_in_every_set",
    "least_patterns",
    "least_scores",
    "refuse_uninformative",
]

Least = list["float | int | None"]
"""Per class, the smallest raw score in the prediction set; None where no score is."""

_REMEDY = (
    "calibrate with a larger alpha or more labelled images, or measure a grid of alphas on the "
    "labelled images with evaluate"
)


def least_scores(qhat: Any, grid: ScoreGrid, num_classes: int) -> Least:
    """Per class, the smallest raw score of the grid's dtype that is in the prediction set.

    Raises:
        OptionError, ShapeError: as :func:`class_thresholds`.
    """
    thresholds = class_thresholds(qhat, num_classes)
    least = {threshold: grid.least(threshold) for threshold in set(thresholds)}
    return [least[threshold] for threshold in thresholds]


def least_patterns(thresholds: Sequence[float], grid: ScoreGrid) -> list[int | None]:
    """Per class, the pattern of the smallest score in the prediction set; None where there is none.

    Args:
        thresholds: one per class.
        grid: of the scores.
    """
    least = {threshold: grid.least_pattern(threshold) for threshold in set(thresholds)}
    return [least[threshold] for threshold in thresholds]


def class_thresholds(qhat: Any, num_classes: int) -> list[float]:
    """The threshold of each class, ``(K,)``.

    Raises:
        OptionError: ``qhat`` is no number, or holds NaN.
        ShapeError: it has a length other than K.
    """
    value = qhat.qhat if isinstance(qhat, Calibration) else qhat
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    try:
        thresholds = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        thresholds = np.array(np.nan)
    if np.isnan(thresholds).any() or isinstance(value, bool):
        raise OptionError(
            f"qhat must be a Calibration, a number or one number per class, and no NaN, got "
            f"{value!r}; calibrate first, or pass a threshold on 1 - P(class) between 0 and 1"
        )
    if thresholds.ndim > 1 or (thresholds.ndim == 1 and len(thresholds) != num_classes):
        raise ShapeError(
            f"qhat must be one number or one per class, {num_classes} here, got shape "
            f"{thresholds.shape}; calibrate with maps of the same classes"
        )
    if isinstance(qhat, Calibration) and qhat.num_classes != num_classes:
        raise ShapeError(
            f"the calibration was made with {qhat.num_classes} classes and the masks have "
            f"{num_classes}; calibrate with maps of the same annotator and class list"
        )
    per_class: list[float] = np.broadcast_to(thresholds, num_classes).tolist()
    return per_class


def refuse_uninformative(qhat: Any) -> None:
    """Refuse thresholds of 1 or more, which put their class into every prediction set.

    Raises:
        UninformativeThresholdError: with the classes concerned and the remedy.
    """
    calibration = qhat if isinstance(qhat, Calibration) else None
    thresholds = np.asarray(calibration.qhat if calibration else qhat, dtype=np.float64)
    high = thresholds >= 1.0
    if not high.any():
        return
    which = f"of classes {np.flatnonzero(high).tolist()} " if thresholds.ndim else ""
    value = float(thresholds.max())
    raise UninformativeThresholdError(
        f"qhat {which}is {value:g}, so every class is in every prediction set and a label says "
        f"nothing about the image{_why(calibration)}; {_REMEDY}"
    )


def every_class_in_every_set(num_classes: int) -> UninformativeThresholdError:
    """The error of maps in which no threshold leaves any class out anywhere."""
    return UninformativeThresholdError(
        f"every one of the {num_classes} classes is in the prediction set of every pixel here, so "
        f"a label says nothing about the image; {_REMEDY}"
    )


def _why(calibration: Calibration | None) -> str:
    if calibration is None:
        return ""
    if np.isinf(np.max(calibration.qhat)):
        unit = calibration.guarantee.unit
        if calibration.guarantee.per_unit:
            return (
                f" (alpha {calibration.alpha:g} needs at least {calibration.n_needed} "
                f"calibration {unit}s, there are {calibration.n_units})"
            )
        return (
            f" (alpha {calibration.alpha:g} is too small for {calibration.n_pixels} calibration "
            f"pixels)"
        )
    return (
        f" (more than a share alpha = {calibration.alpha:g} of the calibration pixels has a true "
        f"class that the annotator scores 0)"
    )
