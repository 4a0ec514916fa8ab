"""The figures of a report, drawn from its evidence."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from conformal_plugin.calibration import Calibration
from conformal_plugin.choosing import Candidate, Choice
from conformal_plugin.evaluation import Evaluation
from conformal_plugin.reporting._halves import CoverageCurve, Halves
from conformal_plugin.reporting._svg import Series, bar_rows, line_chart, matrix

__all__ = ["MOST_CLASSES", "Figure", "all_figures"]

MOST_CLASSES = 11
"""As many as a chart of classes can show."""


@dataclass(frozen=True)
class Figure:
    """A chart with what it shows.

    Attributes:
        name: for its file.
        title: what is drawn.
        caption: what to see in it.
        svg: the chart.
    """

    name: str
    title: str
    caption: str
    svg: str


def all_figures(
    calibration: Calibration,
    evaluation: Evaluation,
    halves: Halves,
    choice: Choice,
    rule: str,
    names: Sequence[str],
) -> list[Figure]:
    """Every figure that this evidence can fill, in the order of the page."""
    alphas = sorted({c.alpha for c in choice.candidates if c.alpha is not None})
    figures = [
        _pixel_coverage(halves, alphas, calibration),
        _image_coverage(halves, alphas, calibration),
        _worth(choice, rule, calibration),
        _per_class(evaluation, names),
        _confusion(evaluation, names),
    ]
    if np.ndim(calibration.qhat):
        figures.insert(3, _thresholds(calibration, names))
    return figures


def _pixel_coverage(halves: Halves, alphas: Sequence[float], calibration: Calibration) -> Figure:
    first, second = halves.images
    title = "Pixel coverage"
    caption = (
        f"Pixels with their true class in the prediction set, calibrated on {first} of the images "
        f"and measured on the other {second}. The band is where 90 % of such measurements fall if "
        f"the pixels count for as many independent ones as the spread between images suggests: an "
        f"estimate, so a guide."
    )
    svg = _coverage(title, caption, halves.pixels(alphas), calibration)
    return Figure("coverage_pixels", title, caption, svg)


def _image_coverage(halves: Halves, alphas: Sequence[float], calibration: Calibration) -> Figure:
    first, second = halves.images
    title = "Image coverage"
    caption = (
        f"Images with at least {100 * halves.tau:g} % of their pixels covered, calibrated on "
        f"{first} images and measured on the other {second}, at the image-wise threshold. The band "
        f"holds 90 % of such measurements, exactly, if images are exchangeable; ties push coverage "
        f"up."
    )
    svg = _coverage(title, caption, halves.covered_images(alphas), calibration)
    return Figure("coverage_images", title, caption, svg)


def _coverage(title: str, caption: str, curve: CoverageCurve, calibration: Calibration) -> str:
    aim = [1 - alpha for alpha in curve.alphas]
    return line_chart(
        title,
        caption,
        curve.alphas,
        [
            Series("observed", curve.observed, colour=0),
            Series("asked for: 1 - alpha", aim, colour=1),
            Series("90 % of such measurements", (), curve.low, curve.high, colour=0, lined=False),
        ],
        x_label="alpha" if _alpha(calibration) is None else "alpha (dotted: the calibration's)",
        mark=_alpha(calibration),
    )


def _of_the_curve(candidate: Candidate, choice: Choice, rule: str) -> bool:
    """Whether it is of this rule, with one threshold for all classes and the page's background."""
    usual = (candidate.rule, candidate.thresholds, candidate.background)
    curve = usual == (rule, "pixel", choice.background)
    return curve and candidate.alpha is not None and candidate.usable


def _worth(choice: Choice, rule: str, calibration: Calibration) -> Figure:
    rows = sorted(
        (c for c in choice.candidates if _of_the_curve(c, choice, rule)),
        key=lambda c: c.alpha or 0.0,
    )
    series = [
        Series(
            name,
            [getattr(c, measure) for c in rows],
            [getattr(c, measure) - getattr(c, f"{measure}_se") for c in rows],
            [min(1.0, getattr(c, measure) + getattr(c, f"{measure}_se")) for c in rows],
            colour=colour,
        )
        for colour, (name, measure) in enumerate(
            [("precision of the kept labels", "precision"), ("pixels kept", "kept")]
        )
    ]
    series += [
        Series("mIoU, dropped pixels as misses", [c.miou for c in rows], colour=2),
        Series("recall: objects' pixels labelled right", [c.recall for c in rows], colour=3),
    ]
    title = "Precision, kept share, mIoU and recall against alpha"
    caption = (
        f"What the labels are worth at each alpha, rule {rule}: every image labelled at the "
        f"threshold that the others give. Bands are one standard error over images."
    )
    svg = line_chart(
        title,
        caption,
        [c.alpha or 0.0 for c in rows],
        series,
        x_label="alpha" if _alpha(calibration) is None else "alpha (dotted: the calibration's)",
        mark=_alpha(calibration),
    )
    return Figure("worth", title, caption, svg)


def _alpha(calibration: Calibration) -> float | None:
    """The calibration's alpha; None where it is the epsilon of a promise on precision."""
    return None if calibration.promises_precision else calibration.alpha


def _thresholds(calibration: Calibration, names: Sequence[str]) -> Figure:
    thresholds = np.asarray(calibration.qhat, dtype=float)
    fates = dict.fromkeys(calibration.pooled_classes, " *")
    fates |= dict.fromkeys(calibration.left_out_classes, " †")
    rows = [f"{name}{fates.get(c, '')}" for c, name in enumerate(names)]
    shown = [q if math.isfinite(q) else math.nan for q in thresholds.clip(max=1.0)]
    title = "Thresholds per class"
    caption = (
        "The threshold of each class; N_c and K_c, its pixels and images, are in the table below. "
        "* shares the threshold of all classes, † is left out."
    )
    svg = bar_rows(title, caption, rows, [Series("q-hat", shown, colour=3)])
    return Figure("thresholds", title, caption, svg)


def _present(evaluation: Evaluation) -> list[int]:
    """Classes with a labelled pixel, by their number of pixels, at most some."""
    pixels = evaluation.confusion.sum(axis=1)
    order = np.argsort(-pixels, kind="stable")
    return sorted(int(c) for c in order[:MOST_CLASSES] if pixels[c])


def _per_class(evaluation: Evaluation, names: Sequence[str]) -> Figure:
    present = _present(evaluation)
    kept, precision = evaluation.kept_per_class, evaluation.precision_per_class
    title = "Kept share and precision per class"
    caption = (
        "Of each true class's pixels the share that keeps a label, and of each label the share "
        "that is right, at the calibration's threshold."
    ) + _limit(evaluation, present)
    svg = bar_rows(
        title,
        caption,
        [names[c] for c in present],
        [
            Series("precision", [float(precision[c]) for c in present], colour=0),
            Series("kept", [float(kept[c]) for c in present], colour=1),
        ],
    )
    return Figure("classes", title, caption, svg)


def _confusion(evaluation: Evaluation, names: Sequence[str]) -> Figure:
    present = _present(evaluation)
    rows = evaluation.confusion[present].astype(float)
    shares = rows / rows.sum(axis=1, keepdims=True)
    others = [c for c in range(evaluation.num_classes) if c not in present]
    columns = [*shares[:, present].T, shares[:, -1]]
    headings = [*(names[c] for c in present), "dropped"]
    if shares[:, others].any():
        columns.append(shares[:, others].sum(axis=1))
        headings.append("other")
    title = "What each class is labelled"
    caption = (
        "Of the pixels of each true class (row), the percentage with each label (column)."
    ) + _limit(evaluation, present)
    svg = matrix(
        title,
        caption,
        [names[c] for c in present],
        headings,
        np.column_stack(columns).tolist(),
    )
    return Figure("confusion", title, caption, svg)


def _limit(evaluation: Evaluation, present: Sequence[int]) -> str:
    occurring = int((evaluation.confusion.sum(axis=1) > 0).sum())
    left = occurring - len(present)
    return f" The {left} classes with fewest pixels are not shown." if left else ""
