"""What was measured of prediction sets and labels on labelled images, and of maps without."""

from __future__ import annotations

from conformal_plugin.evaluation._evaluator import (
    Evaluator as Evaluator,
    evaluate as evaluate,
)
from conformal_plugin.evaluation._label_doubts import (
    LabelDoubts as LabelDoubts,
    label_doubts as label_doubts,
)
from conformal_plugin.evaluation._map_measures import (
    MapMeasures as MapMeasures,
    measure_map as measure_map,
)
from conformal_plugin.evaluation._result import (
    PER_IMAGE as PER_IMAGE,
    Evaluation as Evaluation,
)
from conformal_plugin.evaluation._shift import (
    NOT_EXCHANGEABLE as NOT_EXCHANGEABLE,
    Difference as Difference,
    Shift as Shift,
    shift_between as shift_between,
    shift_of_measures as shift_of_measures,
)
