"""A page for each class, where there are more than the charts of the report can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformal_plugin.evaluation import Evaluation
from conformal_plugin.reporting._figures import MOST_CLASSES, Figure
from conformal_plugin.reporting._svg import Series, bar_rows
from conformal_plugin.reporting._words import Card, percent

__all__ = ["CLASS_FOLDER", "ClassPage", "class_pages"]

CLASS_FOLDER = "classes"
"""Beside the report, where these pages lie."""

_MOST_ROWS = 10


@dataclass(frozen=True)
class ClassPage:
    """What the page of a class shows.

    Attributes:
        name: of the class.
        address: of the page, from the report.
        cards: pixels, kept share, precision, IoU.
        figures: what its pixels are labelled, and what its labels are of.
    """

    name: str
    address: str
    cards: Sequence[Card]
    figures: Sequence[Figure]


def class_pages(evaluation: Evaluation, names: Sequence[str]) -> list[ClassPage]:
    """The classes that occur, by their number of pixels; none where the report shows them all."""
    pixels = evaluation.confusion.sum(axis=1)
    order = [int(c) for c in np.argsort(-pixels, kind="stable") if pixels[c]]
    if len(order) <= MOST_CLASSES:
        return []
    kept, precision = evaluation.kept_per_class, evaluation.precision_per_class
    iou = evaluation.iou_per_class()
    return [
        ClassPage(
            names[c],
            f"{CLASS_FOLDER}/{c:03d}.html",
            (
                Card("pixels", f"{pixels[c]:,}", "of all labelled ones are of this class"),
                Card("kept", percent(float(kept[c])), "of these get a label"),
                Card("precision", percent(float(precision[c])), "of its labels are right"),
                Card("IoU", percent(float(iou[c])), "dropped pixels as misses"),
            ),
            (_labelled(evaluation, names, c), _truly(evaluation, names, c)),
        )
        for c in order
    ]


def _labelled(evaluation: Evaluation, names: Sequence[str], c: int) -> Figure:
    title = "What its pixels are labelled"
    caption = f"Of the pixels that are {names[c]}, the share with each label"
    return _bars("labelled", title, caption, evaluation.confusion[c], [*names, "dropped"])


def _truly(evaluation: Evaluation, names: Sequence[str], c: int) -> Figure:
    title = "What its labels are of"
    caption = f"Of the pixels that are labelled {names[c]}, the share of each true class"
    return _bars("truly", title, caption, evaluation.confusion[:, c], names)


def _bars(
    name: str, title: str, caption: str, counts: np.ndarray[Any, Any], names: Sequence[str]
) -> Figure:
    """The largest shares, as bars."""
    total = int(counts.sum())
    largest = [int(i) for i in np.argsort(-counts, kind="stable")[:_MOST_ROWS] if counts[i]]
    rest = 1 - counts[largest].sum() / total if total else 0.0
    text = f"{caption}; {percent(rest)} are others." if rest > 0 else f"{caption}."
    shares = [float(counts[i] / total) for i in largest]
    svg = bar_rows(title, text, [names[i] for i in largest], [Series("share", shares)])
    return Figure(name, title, text, svg)
