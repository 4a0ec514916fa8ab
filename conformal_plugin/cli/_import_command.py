"""``conformal-plugin import``: labels that people have corrected, from an annotation tool."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from conformal_plugin._atomic import atomic_write_text, sweep
from conformal_plugin.cli._label_folder import MANIFEST
from conformal_plugin.cli._outputs import named_files, refuse_inputs
from conformal_plugin.cli._progress import progress
from conformal_plugin.cli._report import note, print_json, warn
from conformal_plugin.errors import OptionError, SourceFileError
from conformal_plugin.exchange import (
    DROPPED,
    IMPORTED,
    SENT,
    Imported,
    Returned,
    Sent,
    labels_checksum,
    read_returned,
    returned_masks,
)
from conformal_plugin.files import IdFolder, read_ids, read_label, write_label

__all__ = ["run"]

_SUFFIX = ".png"
_TRAINING, _CALIBRATION, _ALL = "for_training.txt", "for_calibration.txt", "imported.txt"


def run(arguments: argparse.Namespace) -> None:
    """Write the labels of photos that people are done with, the lists, and what is missing."""
    job = _Importing(arguments)
    job.begin()
    job.take_all()
    job.finish()


@dataclass
class _Found:
    """Ids, by what became of the photos."""

    taken: list[str] = field(default_factory=list)
    unmarked: list[str] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    kept_undecided: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    in_the_way: list[str] = field(default_factory=list)
    written: int = 0


class _Importing:
    """All that importing needs, checked before any work."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._out: Path = arguments.out
        self._sent = Sent.read(arguments.export)
        self._photos = {photo.name: photo for photo in self._sent.photos}
        self._done = None if arguments.ids is None else self._listed(arguments.ids)
        self._wanted = frozenset(self._done or ())
        self._drawn = [] if arguments.drawn is None else self._listed(arguments.drawn)
        if (self._out / MANIFEST).exists():
            raise OptionError(
                f"{self._out} holds pseudo-labels that `filter` wrote; labels by hand go to "
                f"another folder, so that nobody takes one for the other"
            )
        self._files = IdFolder(self._out, _SUFFIX, "label folder")
        lists = [self._out / name for name in (_TRAINING, _CALIBRATION, _ALL, IMPORTED)]
        masks = returned_masks(arguments.file) if arguments.file.is_dir() else {}
        refuse_inputs(
            {"--out": lists, "the label": map(self._files.path, self._photos)},
            {
                **named_files(arguments),
                "--export": [arguments.export / SENT],
                "a mask of --file": masks.values(),
            },
        )
        self._found = _Found()

    def begin(self) -> None:
        """Clear away what a killed run left, and note what was chosen before any label is there."""
        folders = [self._out, *(self._files.path(name).parent for name in self._photos)]
        sweep(folders, lambda name: name.endswith((_SUFFIX, ".txt", ".json")))
        noted = Imported.read(self._out).with_sent(self._photos, self._drawn)
        noted.write(self._out)

    def take_all(self) -> None:
        """Write the labels of the photos that are done.

        Raises:
            OptionError: labels that differ are there already, or nothing says what is done.
            SourceFileError: a photo that should be done has not come back, or came twice.
        """
        seen: set[str] = set()
        for returned in self._returned():
            name = returned.photo.name
            if name in seen:
                raise SourceFileError(
                    f"the photo {name} is in {self._arguments.file} twice; export it from one task"
                )
            seen.add(name)
            self._take(returned)
        missing = [] if self._done is None else [name for name in self._done if name not in seen]
        if missing:
            raise SourceFileError(
                f"{len(missing)} of the photos of --ids, {missing[0]} for one, are not in "
                f"{self._arguments.file}; take them off the list. Where a photo holds no object at "
                f"all, CVAT for images says so and Segmentation mask leaves it out"
            )
        if self._found.in_the_way:
            raise OptionError(
                f"{len(self._found.in_the_way)} labels in {self._out} differ from those that came "
                f"back, {self._found.in_the_way[0]} for one, and were left as they are; choose "
                f"another folder, or pass --overwrite"
            )
        if not self._found.taken and not self._found.undecided:
            raise OptionError(
                f"nothing in {self._arguments.file} says that a person is done with a photo: in "
                f"CVAT give it the tag `checked`, in Label Studio submit an annotation, or name "
                f"the photos with --ids"
            )

    def finish(self) -> None:
        """Write the lists of all imports so far, and print what came back."""
        found = self._found
        noted = Imported.read(self._out).with_taken(found.taken, found.kept_undecided)
        noted.write(self._out)
        there = set(noted.taken) - noted.undecided
        back = [name for name in self._drawn if name in there]
        training = [name for name in noted.taken if name in noted.chosen]
        complete = bool(back) and len(back) == len(self._drawn)
        self._write_list(_ALL, noted.taken)
        self._write_list(_TRAINING, training)
        if complete:
            self._write_list(_CALIBRATION, [*self._calibrated_on(), *back])
        content: dict[str, Any] = {
            "labels": str(self._out),
            "taken": len(found.taken),
            "written": found.written,
            "unchanged": len(found.unchanged),
            "undecided": found.undecided,
            "not_done": len(found.unmarked),
            "for_training": training,
            "for_calibration": back if complete else [],
        }
        self._say_what_is_missing(len(self._drawn), len(back))
        if self._arguments.json:
            print_json(content)
            return
        print(
            f"{len(found.taken)} photos in {self._out} ({found.written} written, "
            f"{len(found.unchanged)} as they were sent); {len(found.unmarked)} are not done"
        )
        if training:
            print(
                f"{self._out / _TRAINING}: {len(training)} photos that were chosen, and are like "
                f"no others. Train on them; never calibrate or test on them."
            )
        if complete:
            print(
                f"{self._out / _CALIBRATION}: all {len(back)} photos that were drawn at random. "
                f"Calibrate on them, with the labelled ones that were drawn at random before."
            )

    def _returned(self) -> Iterator[Returned]:
        arguments = self._arguments
        photos = read_returned(arguments.file, self._sent, arguments.tool)
        return progress(photos, "import", total=len(self._photos), quiet=arguments.quiet)

    def _take(self, returned: Returned) -> None:
        name, composed, found = returned.photo.name, returned.composed, self._found
        done = returned.marked if self._done is None else name in self._wanted
        if not done:
            found.unmarked.append(name)
            return
        kept = self._arguments.keep_undecided and name not in self._drawn
        if composed.undecided and not kept:
            found.undecided.append(name)
            return
        path = self._files.path(name)
        there = path.exists()
        same = there and np.array_equal(read_label(path), composed.labels)
        if there and not same and not self._arguments.overwrite:
            found.in_the_way.append(name)
            return
        if not same:
            write_label(path, composed.labels)
            found.written += 1
        found.taken.append(name)
        if composed.undecided:
            found.kept_undecided.append(name)
        if returned.photo.checksum == labels_checksum(composed.labels):
            found.unchanged.append(name)

    def _say_what_is_missing(self, drawn: int, back: int) -> None:
        found = self._found
        if found.undecided:
            shown = ", ".join(found.undecided[:3]) + (", ..." if len(found.undecided) > 3 else "")
            warn(
                f"{len(found.undecided)} photos are left out, as they have `{DROPPED}` pixels, "
                f"which nobody has decided: {shown}. Paint a class over them, paint them `unsure`, "
                f"or delete that mask where they are background"
            )
        if drawn and back < drawn:
            warn(
                f"{back} of the {drawn} photos that were drawn at random are back, and "
                f"{_CALIBRATION} is not written before all are: those that are done first would "
                f"be like no others"
            )
        shown_labels = [n for n in self._drawn if self._photos[n].checksum is not None]
        if shown_labels:
            warn(
                f"{len(shown_labels)} of the photos that were drawn at random were sent with their "
                f"labels: people who correct labels agree with them more than people who see none, "
                f"so that what is calibrated on them can cover less than it says. Send such photos "
                f"with `export --blank`"
            )
        if found.unchanged:
            note(
                f"{len(found.unchanged)} photos came back as they were sent",
                quiet=self._arguments.quiet,
            )

    def _listed(self, path: Path) -> list[str]:
        """The ids of a list, all of which were sent.

        Raises:
            OptionError: one that was not.
        """
        names = list(read_ids(path).ids)
        strange = [name for name in names if name not in self._photos]
        if strange:
            raise OptionError(
                f"{len(strange)} ids of {path}, {strange[0]} for one, were not in the export "
                f"{self._arguments.export}"
            )
        return names

    def _calibrated_on(self) -> list[str]:
        """Photos of earlier draws, all of which are back."""
        path = self._out / _CALIBRATION
        return list(read_ids(path).ids) if path.exists() else []

    def _write_list(self, name: str, ids: Iterable[str]) -> None:
        path, names = self._out / name, list(dict.fromkeys(ids))
        if names:
            atomic_write_text(path, "".join(f"{each}\n" for each in names))
        else:
            path.unlink(missing_ok=True)
