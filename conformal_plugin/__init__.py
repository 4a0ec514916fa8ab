"""Conformal pseudo-labels from foundation models, for semi-supervised semantic segmentation.

Names are loaded on first use, so that ``import conformal_plugin`` and the command line start
without importing torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformal_plugin import errors
    from conformal_plugin.binary import from_foreground
    from conformal_plugin.calibration import Calibration, Guarantee
    from conformal_plugin.calibrator import Calibrator, calibrate
    from conformal_plugin.choosing.choice import Choice
    from conformal_plugin.choosing.chooser import choose
    from conformal_plugin.evaluation import Evaluation
    from conformal_plugin.evaluator import Evaluator, evaluate
    from conformal_plugin.filtering import filter, prediction_sets
    from conformal_plugin.guarantees.class_conditional import (
        ClassConditionalCalibrator,
        ClassConditionalImageLevelCalibrator,
        calibrate_class_conditional,
        calibrate_class_conditional_image_level,
    )
    from conformal_plugin.guarantees.clustered import (
        ClassClusters,
        ClusteredCalibrator,
        calibrate_clustered,
        cluster_classes,
    )
    from conformal_plugin.guarantees.image_level import (
        ImageLevelCalibrator,
        calibrate_image_level,
    )
    from conformal_plugin.guarantees.image_wise import (
        ImageWiseCalibrator,
        calibrate_image_wise,
    )
    from conformal_plugin.guarantees.precision import PrecisionCalibrator, calibrate_precision
    from conformal_plugin.guarantees.threshold_path import ThresholdPath
    from conformal_plugin.training.mixing import cutmix
    from conformal_plugin.training.schedule import TwoStage
    from conformal_plugin.training.supervision import ConformalSupervision

__all__ = [
    "Calibration",
    "Calibrator",
    "Choice",
    "ClassClusters",
    "ClassConditionalCalibrator",
    "ClassConditionalImageLevelCalibrator",
    "ClusteredCalibrator",
    "ConformalSupervision",
    "Evaluation",
    "Evaluator",
    "Guarantee",
    "ImageLevelCalibrator",
    "ImageWiseCalibrator",
    "PrecisionCalibrator",
    "ThresholdPath",
    "TwoStage",
    "__version__",
    "calibrate",
    "calibrate_class_conditional",
    "calibrate_class_conditional_image_level",
    "calibrate_clustered",
    "calibrate_image_level",
    "calibrate_image_wise",
    "calibrate_precision",
    "choose",
    "cluster_classes",
    "cutmix",
    "errors",
    "evaluate",
    "filter",
    "from_foreground",
    "prediction_sets",
]

__version__ = "0.1.0"

_MODULE_OF = {
    "Calibration": "calibration",
    "Calibrator": "calibrator",
    "Choice": "choosing.choice",
    "ClassClusters": "guarantees.clustered",
    "ClassConditionalCalibrator": "guarantees.class_conditional",
    "ClassConditionalImageLevelCalibrator": "guarantees.class_conditional",
    "ClusteredCalibrator": "guarantees.clustered",
    "ConformalSupervision": "training.supervision",
    "Evaluation": "evaluation",
    "Evaluator": "evaluator",
    "Guarantee": "calibration",
    "ImageLevelCalibrator": "guarantees.image_level",
    "ImageWiseCalibrator": "guarantees.image_wise",
    "PrecisionCalibrator": "guarantees.precision",
    "ThresholdPath": "guarantees.threshold_path",
    "TwoStage": "training.schedule",
    "calibrate": "calibrator",
    "calibrate_class_conditional": "guarantees.class_conditional",
    "calibrate_class_conditional_image_level": "guarantees.class_conditional",
    "calibrate_clustered": "guarantees.clustered",
    "calibrate_image_level": "guarantees.image_level",
    "calibrate_image_wise": "guarantees.image_wise",
    "calibrate_precision": "guarantees.precision",
    "choose": "choosing.chooser",
    "cluster_classes": "guarantees.clustered",
    "cutmix": "training.mixing",
    "evaluate": "evaluator",
    "filter": "filtering",
    "from_foreground": "binary",
    "prediction_sets": "filtering",
}


def __getattr__(name: str) -> object:
    if name == "errors":
        return importlib.import_module("conformal_plugin.errors")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'conformal_plugin' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"conformal_plugin.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
