"""q-hat and what it claims."""

from __future__ import annotations

from conformal_plugin.calibration._calibrator import (
    Calibrator as Calibrator,
    calibrate as calibrate,
)
from conformal_plugin.calibration._class_conditional import (
    ClassConditionalCalibrator as ClassConditionalCalibrator,
    ClassConditionalImageLevelCalibrator as ClassConditionalImageLevelCalibrator,
    calibrate_class_conditional as calibrate_class_conditional,
    calibrate_class_conditional_image_level as calibrate_class_conditional_image_level,
)
from conformal_plugin.calibration._clustered import (
    ClassClusters as ClassClusters,
    ClusteredCalibrator as ClusteredCalibrator,
    calibrate_clustered as calibrate_clustered,
    cluster_classes as cluster_classes,
)
from conformal_plugin.calibration._comparison import (
    Comparison as Comparison,
)
from conformal_plugin.calibration._confidence import (
    ConfidenceCalibrator as ConfidenceCalibrator,
    calibrate_with_confidence as calibrate_with_confidence,
    confidence_shortage as confidence_shortage,
)
from conformal_plugin.calibration._confident_size import (
    confident_images_needed as confident_images_needed,
)
from conformal_plugin.calibration._counting import (
    ScoreCounter as ScoreCounter,
    add_reading as add_reading,
)
from conformal_plugin.calibration._guarantee import (
    Guarantee as Guarantee,
)
from conformal_plugin.calibration._image_level import (
    ImageLevelCalibrator as ImageLevelCalibrator,
    calibrate_image_level as calibrate_image_level,
)
from conformal_plugin.calibration._image_wise import (
    ImageWiseCalibrator as ImageWiseCalibrator,
    calibrate_image_wise as calibrate_image_wise,
)
from conformal_plugin.calibration._json import (
    MADE_FOR as MADE_FOR,
    READ as READ,
)
from conformal_plugin.calibration._label_weights import (
    LabelWeights as LabelWeights,
)
from conformal_plugin.calibration._ladder import (
    ladder_of as ladder_of,
)
from conformal_plugin.calibration._quantile import (
    STEPS as STEPS,
    conformal_rank as conformal_rank,
    exact_alpha as exact_alpha,
    images_needed as images_needed,
)
from conformal_plugin.calibration._result import (
    Calibration as Calibration,
)
from conformal_plugin.calibration._saved_state import (
    reading as reading,
)
from conformal_plugin.calibration._span import (
    index_from_top as index_from_top,
)
from conformal_plugin.calibration._wording import (
    shortage as shortage,
    slack as slack,
)
