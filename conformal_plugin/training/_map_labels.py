"""Labels of probability maps that are filtered in the training step itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.calibration import Calibration
from conformal_plugin.errors import ShapeError
from conformal_plugin.labelling import (
    Least,
    cap_of,
    filter,
    label_maps,
    least_scores,
    refuse_uninformative,
)
from conformal_plugin.scores import grid_named
from conformal_plugin.training._device_values import readable

__all__ = ["LeastByDtype", "Thresholds", "agreed_classes", "labels_of_maps", "least_by_dtype"]

Thresholds = Calibration | float | Sequence[float] | np.ndarray[Any, Any]

LeastByDtype = Mapping[torch.dtype, Least]
"""The least score of each class that is in the set, by dtype of the maps."""

_SCORE_DTYPES = ("float16", "bfloat16", "float32", "float64")


def agreed_classes(calibration: Thresholds | None, num_classes: int | None) -> int | None:
    """K, from the calibration or from what the user says.

    Raises:
        ShapeError: the two differ.
    """
    if isinstance(calibration, Calibration):
        brought = calibration.num_classes
    elif calibration is not None and np.ndim(calibration):
        brought = len(calibration)  # type: ignore[arg-type]
    else:
        return num_classes
    if num_classes not in (None, brought):
        raise ShapeError(
            f"the calibration has {brought} classes and num_classes is {num_classes}; leave "
            f"num_classes out, or calibrate with the same class list"
        )
    return brought


def least_by_dtype(calibration: Thresholds, num_classes: int | None) -> LeastByDtype:
    """The least score of each class by dtype of the maps; one for all where K is not known yet.

    Raises:
        UninformativeThresholdError: a threshold of 1 or more.
    """
    refuse_uninformative(calibration)
    return {
        getattr(torch, name): least_scores(calibration, grid_named(name), num_classes or 1)
        for name in _SCORE_DTYPES
    }


def labels_of_maps(
    maps: Tensor,
    calibration: Thresholds,
    least: LeastByDtype,
    *,
    rule: str,
    background: int,
    ignore_index: int,
) -> Tensor:
    """The pseudo-labels of ``(N, K, H, W)`` or ``(N, K, D, H, W)`` scores, int64, without K.

    On the CPU as :func:`conformal_plugin.filter`, checks included; elsewhere nothing is read back
    and nothing is checked.

    Args:
        maps: class scores in [0, 1], floating point.
        calibration: the thresholds.
        least: what :func:`least_by_dtype` made of them.
        rule, background, ignore_index: as in :func:`conformal_plugin.filter`.
    """
    options: dict[str, Any] = {"rule": rule, "background": background, "ignore_index": ignore_index}
    if readable(maps):
        # Five dimensions can be taken for nothing else, as a batch of K images could.
        volumes = maps.detach() if maps.ndim == 5 else maps.detach().unsqueeze(2)
        labels: Tensor = filter(volumes, calibration, **options)
        return labels.long().view(maps.shape[:1] + maps.shape[2:])
    of_classes = least[maps.dtype]
    if len(of_classes) == 1:
        of_classes = of_classes * maps.shape[1]
    return label_maps(maps, of_classes, **options, cap=cap_of(calibration)).long()
