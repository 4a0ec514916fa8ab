"""What a report's page says, section by section: words and numbers, which its template places."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from conformal_plugin.calibration import Calibration
from conformal_plugin.reporting._class_pages import ClassPage, class_pages
from conformal_plugin.reporting._figures import Figure
from conformal_plugin.reporting._review_part import ReviewPart
from conformal_plugin.reporting._side_by_side import SideBySide, side_by_side
from conformal_plugin.reporting._subject import Subject
from conformal_plugin.reporting._words import Card, Row, percent, threshold_of, with_names

__all__ = ["PageView", "page_view"]

_MOST_PAIRS = 10


@dataclass(frozen=True)
class _Summary:
    """The measurements at the calibration's threshold."""

    warning: str | None
    images: int
    pixels: str
    rule: str
    mean_coverage: str
    worst_coverage: str
    cards: Sequence[Card]


@dataclass(frozen=True)
class _Claims:
    """What the calibration promises, and what it does not."""

    statement: str
    facts: Sequence[Row]


@dataclass(frozen=True)
class _Thresholds:
    """The thresholds of a calibration that has one per class."""

    figure: Figure
    rows: Sequence[Row]


@dataclass(frozen=True)
class _Losses:
    """Pixels that miss their true class; ``share`` None where there is none."""

    share: str | None
    rows: Sequence[Row]
    confusion: Figure


@dataclass(frozen=True)
class _Key:
    """A class in the legend of the pictures."""

    name: str
    colour: str


@dataclass(frozen=True)
class _Picture:
    """A picture, what it shows, what is read out in its place, and a photo to lie under it."""

    what: str
    alt: str
    address: str
    under: str | None


@dataclass(frozen=True)
class _Example:
    """An image as pictures."""

    caption: str
    pictures: Sequence[_Picture]


@dataclass(frozen=True)
class _Review:
    """The photos to look at first: a table, and those that are shown."""

    by: str
    total: int
    columns: Sequence[str]
    rows: Sequence[Row]
    photos: Sequence[_Example]


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
        mixed: whether photos lie under the labels, as strongly as is asked for.
        review: the photos to look at first; None without a review.
        beside: other labels beside these; None without any.
        classes: the pages of single classes; none where there are few.
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
    mixed: bool
    review: _Review | None
    beside: SideBySide | None
    classes: Sequence[ClassPage]


def page_view(subject: Subject) -> PageView:
    """All that the page of ``subject`` shows, as text."""
    figures = {figure.name: figure for figure in subject.figures}
    examples, review = _examples(subject), _review(subject.review)
    shown = [*examples, *(review.photos if review is not None else ())]
    return PageView(
        title=subject.title,
        summary=_summary(subject),
        claims=_claims(subject.calibration),
        coverage=(figures["coverage_pixels"], figures["coverage_images"]),
        # The proposal has remarks of its own kind.
        verdict=[
            with_names(one, subject.names)
            for one in (
                *(f"At this calibration: {one[:1].lower()}{one[1:]}" for one in subject.remarks),
                *subject.choice.verdict.splitlines(),
            )
        ],
        worth=(figures["worth"], figures["classes"]),
        thresholds=_thresholds(subject, figures["thresholds"]) if "thresholds" in figures else None,
        losses=_losses(subject, figures["confusion"]),
        legend=[
            _Key(subject.names[c], f"rgb{colour}") for c, colour in sorted(subject.colours.items())
        ],
        examples=examples,
        mixed=any(picture.under for one in shown for picture in one.pictures),
        review=review,
        classes=class_pages(subject.evidence.evaluation, subject.names),
        beside=None
        if subject.other is None
        else side_by_side(
            subject.calibration,
            subject.evidence.evaluation,
            subject.other,
            subject.names,
            subject.choice.classes,
        ),
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
        mean_coverage=percent(coverage.mean()),
        worst_coverage=percent(coverage.min()),
        cards=(
            Card("covered", percent(result.coverage), "pixels whose true class is in their set"),
            Card("kept", percent(result.kept), "pixels that get a label"),
            Card("precision", percent(result.precision), "of the kept labels are right"),
            Card("mIoU", percent(result.miou(choice.classes)), classes),
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
        "threshold": threshold_of(calibration),
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
    return _Claims(guarantee.statement, [Row(name, (text,)) for name, text in facts.items()])


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
        Row(name, (f"{qhat:.4f}", f"{images}", f"{pixels:,}", fates.get(c, "own")))
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
        shares = (percent(count / pixels), percent(count / total))
        rows.append(Row(subject.names[true], (labels[label], *shares)))
    return _Losses(percent(total / pixels), rows, confusion)


def _examples(subject: Subject) -> list[_Example]:
    return [
        _Example(
            f"{one.rank}: {one.name}, {percent(one.right)} of its pixels rightly labelled",
            _pictures(one.name, one.pictures),
        )
        for one in subject.examples
    ]


def _pictures(name: str, pictures: Mapping[str, str]) -> list[_Picture]:
    """The pictures of an image, its photo under each of its labels."""
    photo = pictures.get("photo")
    return [
        _Picture(what, f"{what} of {name}", address, None if what == "photo" else photo)
        for what, address in pictures.items()
    ]


def _review(part: ReviewPart | None) -> _Review | None:
    if part is None:
        return None
    return _Review(
        by=part.by,
        total=part.total,
        columns=list(part.photos[0].figures) if part.photos else [],
        rows=[Row(photo.name, list(photo.figures.values())) for photo in part.photos],
        photos=[
            _Example(f"{place}: {photo.name}", _pictures(photo.name, photo.pictures))
            for place, photo in enumerate(part.photos, start=1)
            if photo.pictures
        ],
    )
