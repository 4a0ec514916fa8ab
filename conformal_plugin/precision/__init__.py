"""Control of the wrong labels among those that are kept."""

from __future__ import annotations

from conformal_plugin.precision._betting_order import (
    betting_order as betting_order,
)
from conformal_plugin.precision._bounds import (
    betting_pvalue as betting_pvalue,
    betting_pvalue_without_replacement as betting_pvalue_without_replacement,
    check_share as check_share,
)
from conformal_plugin.precision._calibrator import (
    PrecisionCalibrator as PrecisionCalibrator,
    calibrate_precision as calibrate_precision,
)
from conformal_plugin.precision._forecast import (
    Forecast as Forecast,
    forecast as forecast,
)
from conformal_plugin.precision._groups import (
    by_group as by_group,
)
from conformal_plugin.precision._path import (
    ThresholdPath as ThresholdPath,
)
from conformal_plugin.precision._prospects import (
    precision_images_needed as precision_images_needed,
    realised_share as realised_share,
)
from conformal_plugin.precision._target import (
    PrecisionTarget as PrecisionTarget,
    kept_losses as kept_losses,
)
