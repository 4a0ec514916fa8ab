"""What a report is about: a calibration with all that was measured of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conformal_plugin.calibration import Calibration
from conformal_plugin.choosing import Choice
from conformal_plugin.reporting._evidence import Evidence
from conformal_plugin.reporting._figures import Figure
from conformal_plugin.reporting._other_labels import OtherLabels
from conformal_plugin.reporting._pictures import Example
from conformal_plugin.reporting._review_part import ReviewPart

__all__ = ["Subject"]


@dataclass(frozen=True, eq=False)
class Subject:
    """What a page shows.

    Attributes:
        title: heading of the page.
        calibration: what was calibrated.
        evidence: what was measured.
        choice: what the labelled images say about alpha.
        figures: the charts.
        examples: images as pictures.
        names: the classes' names.
        colours: RGB of the classes in the pictures.
        remarks: what is odd of the calibration's labels, a sentence or two each.
        review: the photos to look at first; None where no review was given.
        other: labels to compare with; None where there are none.
    """

    title: str
    calibration: Calibration
    evidence: Evidence
    choice: Choice
    figures: Sequence[Figure]
    examples: Sequence[Example]
    names: Sequence[str]
    colours: Mapping[int, tuple[int, int, int]]
    remarks: Sequence[str] = ()
    review: ReviewPart | None = None
    other: OtherLabels | None = None
