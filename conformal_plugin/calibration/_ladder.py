"""Thresholds per class at evenly spaced levels, from which a label's p-value is read off."""

from __future__ import annotations

from typing import Any

import numpy as np

from conformal_plugin.calibration._class_conditional import ClassConditionalCalibrator
from conformal_plugin.calibration._quantile import STEPS

__all__ = ["ladder_of"]


def ladder_of(counter: ClassConditionalCalibrator) -> np.ndarray[Any, Any]:
    """q-hat of every class at alpha 1/16, 2/16 ... 15/16, float64 ``(15, K)``."""
    return np.stack([np.asarray(counter.result(step / STEPS).qhat) for step in range(1, STEPS)])
