"""``conformal-plugin report``: an HTML page of a calibration, from folders."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformal_plugin._atomic import atomic_open, atomic_write_text, sweep
from conformal_plugin._choices import RULES
from conformal_plugin.annotators import class_list
from conformal_plugin.calibration import Calibration
from conformal_plugin.choosing import ENOUGH, choose, signs_of
from conformal_plugin.cli._against import Against
from conformal_plugin.cli._groups import groups_of
from conformal_plugin.cli._inputs import (
    find_labels,
    find_maps,
    find_photos,
    listed_ids,
    maps_and_labels,
    naming_of_all,
    threshold,
)
from conformal_plugin.cli._outputs import named_files, refuse_inputs
from conformal_plugin.cli._painting import Painter
from conformal_plugin.cli._progress import Readings
from conformal_plugin.cli._report import note, print_json, warn_of
from conformal_plugin.cli._shown_review import ShownReview
from conformal_plugin.cli._whose_maps import without_fitted
from conformal_plugin.errors import MissingExtraError, OptionError
from conformal_plugin.evaluation import LabelDoubts
from conformal_plugin.files import LazySequence
from conformal_plugin.labelling import promised_rule
from conformal_plugin.processes import beside_others
from conformal_plugin.reporting import (
    CLASS_FOLDER,
    Evidence,
    Example,
    Subject,
    all_figures,
    class_colours,
    drawn,
    gather,
    label_picture,
    page,
    pages_of_classes,
    require_renderer,
    require_template_engine,
    standalone,
)
from conformal_plugin.scores import labelled_images

__all__ = ["run"]

_KEPT_BYTES = 2**29
"""As much of the maps stays in memory: each is read four times, and some five times."""


@beside_others()
def run(arguments: argparse.Namespace) -> None:
    """Gather the evidence and write the page and its charts."""
    if arguments.examples < 0:
        raise OptionError(f"--examples must be 0 or more, got {arguments.examples}")
    calibration: Calibration = threshold(arguments)[0]
    rule, background = promised_rule(calibration, arguments.rule, None)
    names = _names(arguments.names, calibration.num_classes)
    require_template_engine()
    with_png = _with_png(arguments)
    ids = without_fitted(arguments, listed_ids(arguments))
    doubts = LabelDoubts(calibration.ignore_index)
    maps, labels = maps_and_labels(arguments, ids, calibration, doubts)
    maps = maps.kept(_KEPT_BYTES)
    photos = find_photos(arguments, ids) if arguments.photos is not None else []
    readings = Readings(maps, "report", quiet=arguments.quiet)
    with naming_of_all(ids.ids):
        evidence = gather(readings, labels, calibration, rule=rule)
        choice = choose(
            readings,
            labels,
            classes=arguments.classes,
            background=background,
            ignore_index=calibration.ignore_index,
            ids=ids.ids,
            groups=groups_of(arguments, ids),
        )
    warn_of(doubts.found())
    figures = all_figures(calibration, evidence.evaluation, evidence.halves, choice, rule, names)
    chosen = _chosen(evidence, arguments.examples)
    painter = Painter(calibration, rule, background, follow_exif=arguments.follow_exif)
    layers = {n: painter.layers(maps[n], labels[n]) for n, _ in chosen}
    against, other = None, None
    if arguments.against is not None:
        against = Against(arguments, ids, maps, calibration)
        other = against.measured(labels)
        for number in layers:
            layers[number].update(against.layers(number))
    review = None if arguments.review is None else ShownReview(arguments, painter, names)
    drawn_layers = [*layers.values(), *(review.layers if review is not None else ())]
    shown = sorted(
        {int(c) for maps in drawn_layers for layer in maps.values() for c in np.unique(layer)}
        - {calibration.ignore_index}
    )
    colours = class_colours(shown, background if rule == "foreground-first" else None)
    examples = [
        Example(
            ids.ids[number],
            rank,
            float(evidence.right[number]),
            {
                **(painter.photo(photos[number]) if photos else {}),
                **{what: label_picture(layer, colours) for what, layer in layers[number].items()},
            },
        )
        for number, rank in chosen
    ]
    subject = Subject(
        arguments.title,
        calibration,
        evidence,
        choice,
        figures,
        examples,
        names,
        colours,
        _remarks(replace(calibration, rule=rule, background=background), maps, labels),
        None if review is None else review.part(colours),
        other,
    )
    target = arguments.out / "report.html"
    charts = [arguments.out / "figures" / f"{figure.name}.svg" for figure in figures]
    of_classes = {arguments.out / name: text for name, text in pages_of_classes(subject).items()}
    refuse_inputs(
        {
            "--out": [target, *of_classes],
            "a chart": [*charts, *(path.with_suffix(".png") for path in charts)],
        },
        {
            **named_files(arguments),
            "a map": find_maps(arguments, ids),
            "a label": find_labels(arguments, ids),
            "a photo": photos,
            "--against": [] if against is None else against.paths,
        },
    )
    folders = [target.parent, *(path.parent for path in charts), arguments.out / CLASS_FOLDER]
    sweep(folders, _is_of_a_report)
    for figure, path in zip(figures, charts):
        atomic_write_text(path, standalone(figure))
        if with_png:
            with atomic_open(path.with_suffix(".png")) as file:
                file.write(drawn(figure.svg))
    for path, text in of_classes.items():
        atomic_write_text(path, text)
    atomic_write_text(target, page(subject))
    if arguments.json:
        written = [figure.name for figure in figures]
        formats = ["svg", "png"] if with_png else ["svg"]
        print_json({"report": str(target), "figures": written, "formats": formats})
    else:
        kinds = "SVG and PNG" if with_png else "SVG"
        print(
            f"{target}: {len(ids)} images, {len(figures)} charts (also as {kinds} in "
            f"{arguments.out / 'figures'}), {len(examples)} examples"
        )


def _remarks(
    calibration: Calibration, maps: LazySequence[Any], labels: LazySequence[Any]
) -> Sequence[str]:
    """What is odd of the first images' labels."""
    found = signs_of(labelled_images(maps[:ENOUGH], labels[:ENOUGH]), calibration)
    foreground_first = calibration.rule == RULES[0]
    background = calibration.background if foreground_first else None
    return found.remarks(calibration.pixels_per_class, background)


def _is_of_a_report(name: str) -> bool:
    return name.endswith((".html", ".svg", ".png"))


def _with_png(arguments: argparse.Namespace) -> bool:
    """Whether the charts are written as PNG: where nothing was typed, if they can be."""
    if arguments.png is False:
        return False
    try:
        require_renderer()
    except MissingExtraError as error:
        if arguments.png:
            raise
        note(f"the charts are written as SVG alone: {error}", quiet=arguments.quiet)
        return False
    return True


def _names(source: str | None, num_classes: int) -> list[str]:
    if source is None:
        return [f"class {c}" for c in range(num_classes)]
    names = list(class_list(source).class_names)
    if len(names) != num_classes:
        raise OptionError(
            f"--names {source} has {len(names)} classes and the calibration {num_classes}; "
            f"give one name per class, background included"
        )
    return names


def _chosen(evidence: Evidence, count: int) -> list[tuple[int, str]]:
    """Numbers of the images to show, with their rank; none twice."""
    ranked = evidence.ranked()
    start = max(0, (len(ranked) - count) // 2)
    groups = (
        ("best", ranked[:count]),
        ("median", ranked[start : start + count]),
        ("worst", ranked[max(0, len(ranked) - count) :]),
    )
    chosen: dict[int, str] = {}
    for rank, numbers in groups:
        for number in numbers:
            chosen.setdefault(number, rank)
    return list(chosen.items())
