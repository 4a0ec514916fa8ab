"""``conformal-plugin report``: an HTML page of a calibration, from folders."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from conformal_plugin._atomic import atomic_open, atomic_write_text, sweep
from conformal_plugin._choices import RULES
from conformal_plugin.annotators import class_list
from conformal_plugin.calibration import Calibration
from conformal_plugin.choosing import ENOUGH, choose, signs_of
from conformal_plugin.cli._groups import groups_of
from conformal_plugin.cli._inputs import (
    find_labels,
    find_maps,
    find_photos,
    listed_ids,
    maps_and_labels,
    threshold,
)
from conformal_plugin.cli._outputs import named_files, refuse_inputs
from conformal_plugin.cli._progress import Readings
from conformal_plugin.cli._report import note, print_json, warn_of
from conformal_plugin.cli._whose_maps import without_fitted
from conformal_plugin.errors import MissingExtraError, OptionError
from conformal_plugin.evaluation import LabelDoubts
from conformal_plugin.files import LazySequence, read_photo
from conformal_plugin.labelling import cap_of, label_maps, least_scores, promised_rule
from conformal_plugin.reporting import (
    Evidence,
    Example,
    Subject,
    all_figures,
    class_colours,
    drawn,
    gather,
    label_picture,
    page,
    photo_picture,
    require_renderer,
    require_template_engine,
    standalone,
)
from conformal_plugin.scores import LabelledParts, LabelledScores, grid_of, labelled_images

__all__ = ["run"]


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
    photos = find_photos(arguments, ids) if arguments.photos is not None else []
    readings = Readings(maps, "report", quiet=arguments.quiet)
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
    painted = _Painted(maps, labels, photos, calibration, rule, background, arguments.follow_exif)
    layers = {number: painted.layers(number) for number, _ in chosen}
    shown = sorted(
        {int(c) for maps in layers.values() for layer in maps.values() for c in np.unique(layer)}
        - {calibration.ignore_index}
    )
    colours = class_colours(shown, background if rule == "foreground-first" else None)
    examples = [
        Example(
            ids.ids[number],
            rank,
            float(evidence.right[number]),
            {
                **painted.photo(number),
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
    )
    target = arguments.out / "report.html"
    charts = [arguments.out / "figures" / f"{figure.name}.svg" for figure in figures]
    refuse_inputs(
        {"--out": [target], "a chart": [*charts, *(path.with_suffix(".png") for path in charts)]},
        {
            **named_files(arguments),
            "a map": find_maps(arguments, ids),
            "a label": find_labels(arguments, ids),
            "a photo": photos,
        },
    )
    sweep([target.parent, *(path.parent for path in charts)], _is_of_a_report)
    for figure, path in zip(figures, charts):
        atomic_write_text(path, standalone(figure))
        if with_png:
            with atomic_open(path.with_suffix(".png")) as file:
                file.write(drawn(figure.svg))
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


class _Painted:
    """The labels of single images, to be painted."""

    def __init__(
        self,
        maps: LazySequence[Any],
        labels: LazySequence[Any],
        photos: Sequence[Path],
        calibration: Calibration,
        rule: str,
        background: int,
        follow_exif: bool,
    ) -> None:
        self._follow_exif = follow_exif
        self._maps = maps
        self._labels = labels
        self._photos = photos
        self._calibration = calibration
        self._rule = rule
        self._background = background

    def layers(self, number: int) -> dict[str, np.ndarray[Any, Any]]:
        """True, raw and kept labels of an image, by what they are called."""
        (item,) = labelled_images(self._maps[number], self._labels[number])
        top, below = 0, len(item.labels)
        if item.depth is not None:  # of a volume its middle slice
            height = below // item.depth
            top = item.depth // 2 * height
            below = top + height
        if cap_of(self._calibration) is None:
            made = [self._made(rows) for rows in _rows(item, top, below)]
        else:  # which pixels keep their label depends on all others
            whole = item.whole() if isinstance(item, LabelledParts) else item
            made = [tuple(layer[top:below] for layer in self._made(whole.scores))]
        raw, kept = map(np.concatenate, zip(*made))
        return {"truth": np.asarray(item.labels)[top:below], "raw": raw, "kept": kept}

    def _made(self, scores: Tensor) -> tuple[np.ndarray[Any, Any], ...]:
        """The raw and the kept labels of scores ``(K, H, W)``."""
        grid, classes = grid_of(scores), scores.shape[0]
        ignore = self._calibration.ignore_index
        options: dict[str, Any] = {"background": self._background, "ignore_index": ignore}
        everything: list[float | int | None] = [0] * classes
        least = least_scores(self._calibration, grid, classes)
        batch = scores.unsqueeze(0)
        kept = label_maps(batch, least, rule=self._rule, **options, cap=cap_of(self._calibration))
        raw = label_maps(batch, everything, rule="most-probable", **options)
        return raw[0].numpy(), kept[0].numpy()

    def photo(self, number: int) -> dict[str, str]:
        """The photo under its name; nothing where there are no photos."""
        return (
            {
                "photo": photo_picture(
                    read_photo(self._photos[number], follow_exif=self._follow_exif)
                )
            }
            if self._photos
            else {}
        )


def _rows(item: LabelledScores, top: int, below: int) -> Iterator[Tensor]:
    """The scores of some rows of an image, part by part."""
    start = 0
    for part in item.parts():
        some = part.scores[:, max(0, top - start) : max(0, below - start)]
        if some.shape[1]:
            yield some
        start += part.scores.shape[1]
        if start >= below:
            return


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
