"""``conformal-plugin review``: which photos to look at first, from a folder of maps."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from conformal_plugin._atomic import atomic_write_text, sweep
from conformal_plugin.calibration import Calibration
from conformal_plugin.choosing import NextPhotos, next_photos
from conformal_plugin.cli._damaged_images import UNUSABLE, DamagedImages
from conformal_plugin.cli._groups import groups_of
from conformal_plugin.cli._inputs import (
    classes_of,
    find_maps,
    listed_ids,
    naming,
    taken_maps,
    threshold,
)
from conformal_plugin.cli._outputs import named_files, refuse_inputs
from conformal_plugin.cli._progress import progress
from conformal_plugin.cli._report import print_json
from conformal_plugin.cli._review_record import RECORD, ReviewRecord
from conformal_plugin.cli._sharding import sharing
from conformal_plugin.errors import ConformalError, OptionError, ShapeError
from conformal_plugin.files import FileState, LazySequence, Taken
from conformal_plugin.labelling import cap_settings, promised_rule, refuse_uninformative
from conformal_plugin.review import PhotoFigures, RankedPhoto, photo_figures, ranked

__all__ = ["REVIEW", "run"]

REVIEW = "review.json"

_FORMAT = "conformal-plugin review"
_VERSION = 1
_SHOWN = 10
_COLUMNS = ("place", "id", "score", "unsure", "lost", "excess", "class", "set_size", "why")
_HEURISTIC = (
    "The order is a heuristic: it says which photos look odd by their scores, not which are "
    "labelled wrongly."
)
_PICKED = (
    "chosen by their scores, so that they are like no other photos. Correct them and train on "
    "them; never calibrate or test on them."
)


def run(arguments: argparse.Namespace) -> None:
    """Read the maps that were not read yet, rank the photos, write the lists, and print."""
    with sharing() as ranks:
        arguments.quiet = arguments.quiet or ranks.number > 0
        job = ranks.together(lambda: _Reviewing(arguments))
        ranks.first(job.begin)
        share = ranks.share(range(len(job.ids)))
        parts = ranks.gather(ranks.together(lambda: job.figures(share)))
        ranks.first(lambda: job.finish(parts))


@dataclass
class _Part:
    """What a rank found of its share."""

    figures: dict[int, PhotoFigures] = field(default_factory=dict)
    damaged: DamagedImages = field(default_factory=lambda: DamagedImages("map"))


class _Reviewing:
    """All that a review needs, checked before any work."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._calibration: Calibration = threshold(arguments)[0]
        refuse_uninformative(self._calibration)
        self._rule, self._background = promised_rule(
            self._calibration, arguments.rule, arguments.background
        )
        listed = listed_ids(arguments)
        self.ids = listed.ids
        self._groups = groups_of(arguments, listed)
        if min(arguments.first, arguments.calibrate_on) < 0:
            raise OptionError("--first and --calibrate-on are numbers of photos, 0 or more")
        next_photos(  # before the work: are there as many?
            self.ids,
            for_calibration=arguments.calibrate_on,
            for_training=arguments.first,
            sureness=dict.fromkeys(self.ids, 0.0),
            groups=self._groups,
            seed=arguments.seed,
        )
        self._paths = find_maps(arguments, listed)
        self._maps = taken_maps(arguments, self._paths)
        self._settings = {
            "qhat": str(self._calibration.qhat),
            "rule": self._rule,
            "background": self._background,
            "key": arguments.key,
            **cap_settings(self._calibration),
        }
        out = arguments.out
        self._record = ReviewRecord(out, self._settings)
        self._files = {
            "table": out / "review.csv",
            "review": out / REVIEW,
            "for_training": out / "for_training.txt",
            "for_calibration": out / "for_calibration.txt",
        }
        refuse_inputs(
            {
                "--out": [*self._files.values(), out / RECORD],
                "the list of damaged maps": [out / UNUSABLE],
            },
            {**named_files(arguments), "a map": self._paths},
        )

    def begin(self) -> None:
        """Clear away what a killed run left half written."""
        out = self._arguments.out
        names = {path.name for path in self._files.values()} | {RECORD, UNUSABLE}
        sweep([out], names.__contains__)
        out.mkdir(parents=True, exist_ok=True)
        self._record.tidy()

    def figures(self, indices: Sequence[int]) -> _Part:
        """The figures of these photos; maps that an earlier run has read are not read again."""
        part, todo = _Part(), []
        found = part.figures
        for index in indices:
            path = self._paths[index]
            known = self._record.find(self.ids[index], path, FileState.of(path))
            if known is None:
                todo.append(index)
            else:
                found[index] = known
        work = progress(
            zip(todo, LazySequence(self._read_or_error, todo)),
            "review",
            total=len(indices),
            done=len(found),
            quiet=self._arguments.quiet,
        )
        for index, taken in work:
            name = self.ids[index]
            if isinstance(taken, ConformalError):
                part.damaged.add(name, taken)
                if part.damaged.hopeless(len(found)):
                    break
                continue
            with naming(name):
                self._require_classes(taken.value)
                figures = photo_figures(
                    taken.value,
                    self._calibration,
                    rule=self._rule,
                    background=self._background,
                )
            self._record.add(name, self._paths[index], taken.states[0], figures)
            found[index] = figures
        return part

    def finish(self, parts: Sequence[_Part]) -> None:
        """Rank all photos, write the table and the lists, and print the first ones."""
        arguments, total = self._arguments, _Part()
        for part in parts:
            total.figures |= part.figures
            total.damaged.merge(part.damaged)
        total.damaged.refuse(len(self.ids), arguments.out)
        together = total.figures
        figures = {self.ids[index]: together[index] for index in sorted(together)}
        photos = ranked(figures, self._calibration.pixels_per_class, arguments.by)
        chosen = next_photos(
            self.ids,
            for_calibration=arguments.calibrate_on,
            for_training=arguments.first,
            sureness={photo.name: -photo.score for photo in photos},
            groups=self._groups,
            seed=arguments.seed,
        )
        content = self._content(photos, chosen)
        atomic_write_text(self._files["table"], _table(photos))
        atomic_write_text(self._files["review"], json.dumps(content, indent=1) + "\n")
        for name in ("for_training", "for_calibration"):
            if names := getattr(chosen, name):
                atomic_write_text(self._files[name], "".join(f"{each}\n" for each in names))
            else:
                self._files[name].unlink(missing_ok=True)
        if arguments.json:
            print_json({**content, "photos": content["photos"][: arguments.first or _SHOWN]})
        else:
            self._print(photos, chosen)

    def _content(self, photos: Sequence[RankedPhoto], chosen: NextPhotos) -> dict[str, Any]:
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "heuristic": True,
            "by": self._arguments.by,
            **self._settings,
            "for_training": list(chosen.for_training),
            "for_calibration": list(chosen.for_calibration),
            "photos": [dict(zip(_COLUMNS, _row(photo))) for photo in photos],
        }

    def _print(self, photos: Sequence[RankedPhoto], chosen: NextPhotos) -> None:
        print(f"{len(photos)} photos, ranked by {self._arguments.by}. {_HEURISTIC}\n")
        width = max(len("id"), *(len(photo.name) for photo in photos[:_SHOWN]))
        print(
            f"{'place':>5} {'id':<{width}} {'unsure':>7} {'lost':>7} {'excess':>7} {'sets':>6} why"
        )
        for photo in photos[:_SHOWN]:
            shown = photo.figures
            excess = "-" if photo.excess is None else f"{photo.excess:.3f}"
            print(
                f"{photo.place:>5} {photo.name:<{width}} {shown.unsure:>7.3f} {shown.lost:>7.3f} "
                f"{excess:>7} {shown.set_size:>6.2f} {_why(photo)}"
            )
        print(f"\nall of them: {self._files['table']}")
        if chosen.for_calibration:
            print(
                f"{self._files['for_calibration']}: {len(chosen.for_calibration)} photos drawn at "
                f"random (seed {self._arguments.seed}) before any was ranked. Label all of them, "
                f"without a look at the labels at hand, and calibrate on them."
            )
        if chosen.for_training:
            print(f"{self._files['for_training']}: {len(chosen.for_training)} photos {_PICKED}")
        elif not chosen.for_calibration:
            print(
                "Photos taken from the top of this list are like no others: train on them, never "
                "calibrate or test on them. --calibrate-on N draws some for that."
            )

    def _read_or_error(self, index: int) -> Taken[Any] | ConformalError:
        """A map, or why it cannot be used: others may still be."""
        try:
            return self._maps[index]
        except ConformalError as error:
            return error

    def _require_classes(self, scores: Any) -> None:
        classes = classes_of(scores)
        if classes != self._calibration.num_classes:
            raise ShapeError(
                f"the map has {classes} classes and the calibration "
                f"{self._calibration.num_classes}; review maps of the annotator that was calibrated"
            )


def _row(photo: RankedPhoto) -> tuple[Any, ...]:
    """What a line of the table says, in the order of its columns."""
    figures = photo.figures
    score, unsure, lost = (round(v, 6) for v in (photo.score, figures.unsure, figures.lost))
    excess = None if photo.excess is None else round(photo.excess, 6)
    sets = round(figures.set_size, 6)
    return (photo.place, photo.name, score, unsure, lost, excess, photo.most, sets, photo.why)


def _table(photos: Sequence[RankedPhoto]) -> str:
    written = io.StringIO()
    table = csv.writer(written, lineterminator="\n")
    table.writerow(_COLUMNS)
    table.writerows(_row(photo) for photo in photos)
    return written.getvalue()


def _why(photo: RankedPhoto) -> str:
    if photo.why == "classes" and photo.most is not None:
        return f"too many labels of class {photo.most}"
    return {
        "unsure": "its scores are unsure",
        "lost": "it loses labels",
        "classes": "its classes",
        "sets": "its sets are large",
    }[photo.why]
