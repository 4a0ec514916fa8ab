"""Control of the wrong labels among those that are kept."""

from __future__ import annotations

from conformal_plugin.precision._calibrator import (
    PrecisionCalibrator as PrecisionCalibrator,
    calibrate_precision as calibrate_precision,
)
from conformal_plugin.precision._forecast import (
    Forecast as Forecast,
    forecast as forecast,
)
from conformal_plugin.precision._path import (
    ThresholdPath as ThresholdPath,
)
from conformal_plugin.precision._prospects import (
    precision_images_needed as precision_images_needed,
    realised_share as realised_share,
)
from conformal_plugin.precision._sureness import (
    is_surer as is_surer,
    path_for as path_for,
    sure_share as sure_share,
)
from conformal_plugin.precision._target import (
    PrecisionTarget as PrecisionTarget,
    kept_losses as kept_losses,
)
