"""The result of a rehearsal: what was gained, how sure that is, and a verdict."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Final

from conformal_plugin._json import plain

__all__ = ["Rehearsal"]

_ERRORS: Final = 0.5
"""A gain counts from half of its standard error on, see docs/beds.md."""


@dataclass(frozen=True)
class Rehearsal:
    """What students gained from pseudo-labels, on labelled photos that they had not seen.

    Heuristic: the students are small networks on an encoder's features, and the thresholds behind
    the labels may have been calibrated on the very photos that are left out.

    Attributes:
        miou: of the students with the pseudo-labels, mean over ``classes``.
        miou_alone: of those without.
        gain: the difference.
        gain_se: its standard error over photos, or groups (a jackknife, the trainings held).
        iou, iou_alone: of every class; NaN for one that no labelled photo holds.
        classes: what the mIoU is the mean over.
        kept: the share of the unlabelled photos' points that have a pseudo-label.
        n_labelled, n_unlabelled: photos.
        n_groups: groups of the labelled ones; None where they did not come in any.
        folds, deals: parts of the labelled photos, each left out once a deal; for each a training
            with the pseudo-labels and one without.
        seed: of all that is drawn.
    """

    miou: float
    miou_alone: float
    gain: float
    gain_se: float
    iou: tuple[float, ...]
    iou_alone: tuple[float, ...]
    classes: tuple[int, ...]
    kept: float
    n_labelled: int
    n_unlabelled: int
    n_groups: int | None
    folds: int
    deals: int
    seed: int

    @property
    def worth_using(self) -> bool:
        """Whether the gain is above half of its standard error."""
        return self.gain > _ERRORS * self.gain_se

    @property
    def verdict(self) -> str:
        """The outcome in words."""
        unit = "photos" if self.n_groups is None else f"photos of {self.n_groups} groups"
        start, advice = "Worth using", ""
        if not self.worth_using:
            start = "Not worth it here"
            advice = (
                " A student learns as much from the labelled photos alone: train on these, or "
                "label more of them."
            )
        if abs(self.gain) <= self.gain_se:
            advice += (
                " The difference is within one standard error: so few labelled photos hardly tell."
            )
        return (
            f"{start}: students with these pseudo-labels reach a mIoU of {100 * self.miou:.1f} on "
            f"labelled photos that they have not seen, students without them "
            f"{100 * self.miou_alone:.1f}: {100 * self.gain:+.1f} ± {100 * self.gain_se:.1f} "
            f"points (one standard error over {self.n_labelled} {unit}).{advice} Heuristic: the "
            f"students are small networks on an encoder's features."
        )

    def to_json(self) -> str:
        """Everything as JSON, NaN as null."""
        content = {"worth_using": self.worth_using, "verdict": self.verdict, **asdict(self)}
        return json.dumps(plain(content), indent=2, allow_nan=False) + "\n"
