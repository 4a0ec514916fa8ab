"""The training side: the conformal term of a loss, its schedule, and CutMix."""

from __future__ import annotations

from conformal_plugin.training._kept_log import KeptShareWarning as KeptShareWarning
from conformal_plugin.training._mixing import (
    cutmix as cutmix,
)
from conformal_plugin.training._resuming import ScheduleChangedWarning as ScheduleChangedWarning
from conformal_plugin.training._schedule import (
    TwoStage as TwoStage,
)
from conformal_plugin.training._supervision import (
    ConformalSupervision as ConformalSupervision,
)
from conformal_plugin.training._trackers import track as track
from conformal_plugin.training._trained_on import TrainedOn as TrainedOn
