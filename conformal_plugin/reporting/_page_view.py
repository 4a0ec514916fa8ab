"""What a report's page says, section by section: words and numbers, which its template places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformal_plugin.calibration import Calibration
from conformal_plugin.reporting._figures import Figure
from conformal_plugin.reporting._subject import Subject

__all__ = ["PageView", "page_view"]

_MOST_PAIRS = 10


@dataclass(frozen=True)
class _Row:
    """A line of a table: what it is about, and its cells."""

    heading: str
    cells: Sequence[str]


@dataclass(frozen=True)
class _Card:
    """A number that is shown large."""

    name: str
    value: str
    text: str


@dataclass(frozen=True)
class _Summary:
    """The measurements at the calibration's threshold."""

    warning: str | None
    images: int
    pixels: str
    rule: str
    mean_coverage: str
    worst_coverage: str
    cards: Sequence[_Card]


@dataclass(frozen=True)
class _Claims:
    """What the calibration promises, and what it does not."""

    statement: str
    facts: Sequence[_Row]


@dataclass(frozen=True)
class _Thresholds:
    """The thresholds of a calibration that has one per class."""

    figure: Figure
    rows: Sequence[_Row]


@dataclass(frozen=True)
class _Losses:
    """Pixels that miss their true class; ``share`` None where there is none."""

    share: str | None
    rows: Sequence[_Row]
    confusion: Figure


@dataclass(frozen=True)
class _Key:
    """A class in the legend of the pictures."""

    name: str
    colour: str


@dataclass(frozen=True)
class _Picture:
    """A picture, what it shows, and what is read out in its place."""

    what: str
    alt: str
    address: str


@dataclass(frozen=True)
class _Example:
    """An image as pictures."""

    caption: str
    pictures: Sequence[_Picture]


@dataclass(frozen=True)
class PageView:
    """The page, ready to be shown.

    Attributes:
        title: its heading.
        summary: the measurements in short.
        claims: the calibration's promise.
        coverage: the charts of coverage against alpha.
        verdict: what the labelled images say about alpha, by paragraphs.
        worth: the charts of what the labels are worth.
        thresholds: those per class; None where all classes share one.
        losses: where coverage is lost.
        legend: the classes in the pictures.
        examples: images as pictures.
    """

    title: str
    summary: _Summary
    claims: _Claims
    coverage: Sequence[Figure]
    verdict: Sequence[str]
    worth: Sequence[Figure]
    thresholds: _Thresholds | None
    losses: _Losses
    legend: Sequence[_Key]
    examples: Sequence[_Example]


def page_view(subject: Subject) -> PageView:
    """All that the page of ``subject`` shows, as text."""
    figures = {figure.name: figure for figure in subject.figures}
    return PageView(
        title=subject.title,
        summary=_summary(subject),
        claims=_claims(subject.calibration),
        coverage=(figures["coverage_pixels"], figures["coverage_images"]),
        verdict=[*subject.remarks, *subject.choice.verdict.splitlines()],
        worth=(figures["worth"], figures["classes"]),
        thresholds=_thresholds(subject, figures["thresholds"]) if "thresholds" in figures else None,
        losses=_losses(subject, figures["confusion"]),
        legend=[
            _Key(subject.names[c], f"rgb{colour}") for c, colour in sorted(subject.colours.items())
        ],
        examples=_examples(subject),
    )


def _summary(subject: Subject) -> _Summary:
    result, choice = subject.evidence.evaluation, subject.choice
    coverage = result.image_coverage
    classes = f"over {len(choice.classes)} classes, dropped pixels as misses"
    return _Summary(
        warning=None if choice.worth_using else choice.verdict.splitlines()[0],
        images=result.n_images,
        pixels=f"{result.n_pixels:,}",
        rule=result.rule,
        mean_coverage=_percent(coverage.mean()),
        worst_coverage=_percent(coverage.min()),
        cards=(
            _Card("covered", _percent(result.coverage), "pixels whose true class is in their set"),
            _Card("kept", _percent(result.kept), "pixels that get a label"),
            _Card("precision", _percent(result.precision), "of the kept labels are right"),
            _Card("mIoU", _percent(result.miou(choice.classes)), classes),
        ),
    )


def _claims(calibration: Calibration) -> _Claims:
    guarantee = calibration.guarantee
    kind = (
        "exact: a theorem, for any number of images"
        if guarantee.exact
        else "heuristic: about right on average, and no more than that"
    )
    if calibration.promises_precision:
        level, scope = "epsilon", f"rule {calibration.rule} alone"
        silent = "anything about labels picked by another rule"
    else:
        level, scope = "alpha", "any rule"
        silent = "that kept labels are right: coverage is not precision"
    facts = {
        "promise": f"{guarantee.name}, per {guarantee.unit}; {kind}",
        "level": f"{level} = {calibration.alpha:g}",
        "threshold": _threshold(calibration),
        "holds for": scope,
        "calibrated on": _calibrated_on(calibration),
        "assumes": "that new images come from where the calibration images came from",
        **(
            {}
            if calibration.comparison is None
            else {"seen of that": calibration.comparison.statement}
        ),
        "does not say": silent,
    }
    return _Claims(guarantee.statement, [_Row(name, (text,)) for name, text in facts.items()])


def _threshold(calibration: Calibration) -> str:
    thresholds = np.atleast_1d(np.asarray(calibration.qhat, dtype=float))
    if len(thresholds) == 1:
        value = f"{thresholds[0]:.6g}"
    else:
        value = f"{thresholds.min():.6g} to {thresholds.max():.6g} over {len(thresholds)} classes"
    remark = "" if calibration.informative else "; 1 or more puts a class into every set"
    return f"q-hat {value} on 1 - P(class){remark}"


def _calibrated_on(calibration: Calibration) -> str:
    groups = "" if calibration.n_groups is None else f" in {calibration.n_groups} groups"
    text = f"{calibration.n_images} images{groups}, {calibration.n_pixels:,} pixels"
    if calibration.n_effective is not None:
        text += f", worth about {calibration.n_effective:,.0f} independent ones"
    text += "."
    if calibration.n_repeats:
        text += f" {calibration.n_repeats} repeated images were counted once."
    return text


def _thresholds(subject: Subject, figure: Figure) -> _Thresholds:
    calibration = subject.calibration
    fates = dict.fromkeys(calibration.pooled_classes, "shared")
    fates |= dict.fromkeys(calibration.left_out_classes, "left out")
    columns = zip(
        subject.names,
        np.asarray(calibration.qhat, dtype=float),
        calibration.images_per_class,
        calibration.pixels_per_class,
    )
    rows = [
        _Row(name, (f"{qhat:.4f}", f"{images}", f"{pixels:,}", fates.get(c, "own")))
        for c, (name, qhat, images, pixels) in enumerate(columns)
    ]
    return _Thresholds(figure, rows)


def _losses(subject: Subject, confusion: Figure) -> _Losses:
    lost, pixels = subject.evidence.lost, subject.evidence.evaluation.n_pixels
    total = int(lost.sum())
    if not total:
        return _Losses(None, (), confusion)
    labels = [*subject.names, "dropped"]
    rows = []
    for place in np.argsort(-lost, axis=None, kind="stable")[:_MOST_PAIRS]:
        true, label = divmod(int(place), lost.shape[1])
        count = int(lost[true, label])
        if not count:
            break
        shares = (_percent(count / pixels), _percent(count / total))
        rows.append(_Row(subject.names[true], (labels[label], *shares)))
    return _Losses(_percent(total / pixels), rows, confusion)


def _examples(subject: Subject) -> list[_Example]:
    return [
        _Example(
            f"{one.rank}: {one.name}, {_percent(one.right)} of its pixels rightly labelled",
            [
                _Picture(what, f"{what} of {one.name}", address)
                for what, address in one.pictures.items()
            ],
        )
        for one in subject.examples
    ]


def _percent(share: Any) -> str:
    return "none" if math.isnan(share) else f"{100 * share:.1f} %"
