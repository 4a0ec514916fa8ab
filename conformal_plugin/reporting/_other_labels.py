"""Labels of another calibration, or of a folder, that a report shows beside its own."""

from __future__ import annotations

from dataclasses import dataclass

from conformal_plugin.calibration import Calibration
from conformal_plugin.evaluation import Evaluation

__all__ = ["OtherLabels"]


@dataclass(frozen=True, eq=False)
class OtherLabels:
    """What is compared with.

    Attributes:
        name: what it is called on the page.
        evaluation: of the same images.
        calibration: that the labels are by; None of labels as they lie in a folder, of which
            neither thresholds nor prediction sets are known.
    """

    name: str
    evaluation: Evaluation
    calibration: Calibration | None
