"""A report's own labels beside others: the same measures of both, over all and class by class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from conformal_plugin.calibration import Calibration
from conformal_plugin.evaluation import Evaluation
from conformal_plugin.reporting._other_labels import OtherLabels
from conformal_plugin.reporting._words import Row, percent, threshold_of

__all__ = ["SideBySide", "side_by_side"]


@dataclass(frozen=True)
class SideBySide:
    """Two tables: of the whole, and of the classes that occur.

    Attributes:
        other: what is compared with.
        whole: measures of all pixels, this one's and the other's.
        classes: kept share and precision of each class, of both.
    """

    other: str
    whole: Sequence[Row]
    classes: Sequence[Row]


def side_by_side(
    calibration: Calibration,
    evaluation: Evaluation,
    other: OtherLabels,
    names: Sequence[str],
    classes: Sequence[int],
) -> SideBySide:
    """The measures of both.

    Args:
        calibration: of the report.
        evaluation: its measurements.
        other: what is compared with, measured on the same images.
        names: the classes' names.
        classes: that the mIoU is over.
    """
    pairs = [
        (calibration, evaluation, True),
        (other.calibration, other.evaluation, other.calibration is not None),
    ]
    columns = [
        (
            "-" if made is None else threshold_of(made),
            measured.rule if sets else "-",
            percent(measured.coverage) if sets else "-",
            f"{measured.set_size:.2f}" if sets else "-",
            percent(measured.kept),
            percent(measured.precision),
            percent(measured.foreground_precision),
            percent(measured.miou(classes)),
            percent(measured.miou(classes, dropped="ignore")),
        )
        for made, measured, sets in pairs
    ]
    headings = (
        *("threshold", "rule", "covered", "classes in a set", "kept", "precision"),
        *("precision of what is not background", "mIoU, dropped pixels as misses"),
        "mIoU on kept pixels",
    )
    both = (evaluation, other.evaluation)
    present = np.flatnonzero(evaluation.confusion.sum(axis=1))
    per_class = [
        Row(
            names[c],
            [
                percent(float(values[c]))
                for values in (
                    *(each.kept_per_class for each in both),
                    *(each.precision_per_class for each in both),
                )
            ],
        )
        for c in present.tolist()
    ]
    whole = [Row(heading, cells) for heading, *cells in zip(headings, *columns)]
    return SideBySide(other.name, whole, per_class)
