"""What was measured of prediction sets and labels on labelled images."""

from __future__ import annotations

from conformal_plugin.evaluation._evaluator import (
    Evaluator as Evaluator,
    evaluate as evaluate,
)
from conformal_plugin.evaluation._label_doubts import (
    LabelDoubts as LabelDoubts,
)
from conformal_plugin.evaluation._result import (
    PER_IMAGE as PER_IMAGE,
    Evaluation as Evaluation,
)
