"""Conformal pseudo-labels from foundation models, for semi-supervised semantic segmentation.

Names are loaded on first use, so that ``import conformal_plugin`` and the command line start
without importing torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformal_plugin._lazy import lazily
from conformal_plugin._moved import find_moved_modules

if TYPE_CHECKING:
    from conformal_plugin import errors as errors
    from conformal_plugin.calibration import (
        Calibration as Calibration,
        Calibrator as Calibrator,
        ClassClusters as ClassClusters,
        ClassConditionalCalibrator as ClassConditionalCalibrator,
        ClassConditionalImageLevelCalibrator as ClassConditionalImageLevelCalibrator,
        ClusteredCalibrator as ClusteredCalibrator,
        ConfidenceCalibrator as ConfidenceCalibrator,
        Guarantee as Guarantee,
        ImageLevelCalibrator as ImageLevelCalibrator,
        ImageWiseCalibrator as ImageWiseCalibrator,
        calibrate as calibrate,
        calibrate_class_conditional as calibrate_class_conditional,
        calibrate_class_conditional_image_level as calibrate_class_conditional_image_level,
        calibrate_clustered as calibrate_clustered,
        calibrate_image_level as calibrate_image_level,
        calibrate_image_wise as calibrate_image_wise,
        calibrate_with_confidence as calibrate_with_confidence,
        cluster_classes as cluster_classes,
    )
    from conformal_plugin.choosing import (
        Choice as Choice,
        choose as choose,
    )
    from conformal_plugin.evaluation import (
        Evaluation as Evaluation,
        Evaluator as Evaluator,
        evaluate as evaluate,
        label_doubts as label_doubts,
    )
    from conformal_plugin.labelling import (
        filter as filter,
        prediction_sets as prediction_sets,
    )
    from conformal_plugin.precision import (
        PrecisionCalibrator as PrecisionCalibrator,
        ThresholdPath as ThresholdPath,
        calibrate_precision as calibrate_precision,
    )
    from conformal_plugin.scores import (
        LabelMap as LabelMap,
        from_foreground as from_foreground,
    )
    from conformal_plugin.training import (
        ConformalSupervision as ConformalSupervision,
        TwoStage as TwoStage,
        cutmix as cutmix,
    )

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "calibration": (
            "Calibration",
            "Calibrator",
            "ClassClusters",
            "ClassConditionalCalibrator",
            "ClassConditionalImageLevelCalibrator",
            "ClusteredCalibrator",
            "ConfidenceCalibrator",
            "Guarantee",
            "ImageLevelCalibrator",
            "ImageWiseCalibrator",
            "calibrate",
            "calibrate_class_conditional",
            "calibrate_class_conditional_image_level",
            "calibrate_clustered",
            "calibrate_image_level",
            "calibrate_image_wise",
            "calibrate_with_confidence",
            "cluster_classes",
        ),
        "choosing": (
            "Choice",
            "choose",
        ),
        "evaluation": (
            "Evaluation",
            "Evaluator",
            "evaluate",
            "label_doubts",
        ),
        "labelling": (
            "filter",
            "prediction_sets",
        ),
        "precision": (
            "PrecisionCalibrator",
            "ThresholdPath",
            "calibrate_precision",
        ),
        "scores": (
            "LabelMap",
            "from_foreground",
        ),
        "training": (
            "ConformalSupervision",
            "TwoStage",
            "cutmix",
        ),
    },
    modules=("errors",),
)

find_moved_modules()
