"""What becomes of an annotator's scores: maps in a store, or labels without keeping the maps."""

from __future__ import annotations

import argparse
import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from conformal_plugin._atomic import atomic_write_text, sweep
from conformal_plugin._choices import RULES
from conformal_plugin.annotators import Annotator
from conformal_plugin.cli._done_record import RECORD, DoneLabel
from conformal_plugin.cli._inputs import threshold
from conformal_plugin.cli._label_folder import MANIFEST, LabelFolder
from conformal_plugin.cli._label_style import LabelStyle
from conformal_plugin.cli._label_summary import LabelSummary
from conformal_plugin.cli._labeller import Labeller
from conformal_plugin.cli._outputs import named_files, refuse_inputs
from conformal_plugin.cli._pair_lines import pair_lines
from conformal_plugin.cli._taken_photos import TakenPhotos
from conformal_plugin.cli._whose_maps import refuse_other_maps
from conformal_plugin.errors import OptionError
from conformal_plugin.files import MapStore, annotator_digest, rounded
from conformal_plugin.labelling import cap_settings, promised_rule, refuse_uninformative

__all__ = ["LabelTarget", "MapTarget", "Target", "target"]

_LIST = "pseudo_labels.txt"


class Target(Protocol):
    """Keeps what an annotator gives. ``write`` is called in several threads, for different ids."""

    def begin(self, annotator: Annotator) -> None:
        """Check that what is there already was made by this annotator."""

    def clear_away(self) -> None:
        """Delete what killed runs left half written; by the first rank alone."""

    def holds(self, name: str) -> bool:
        """Whether the result of an id is there, whole."""

    def write(self, name: str, scores: Any) -> None:
        """Keep the result of an id."""

    def finish(self, done: int) -> dict[str, Any]:
        """Do what is left when ``done`` images of this process are; gives facts to report."""


class MapTarget:
    """Score maps in a :class:`conformal_plugin.files.MapStore`, each with what tells its photo.

    Args:
        arguments: with ``out`` and ``precision``.
        photos: where they are read.
    """

    def __init__(self, arguments: argparse.Namespace, photos: TakenPhotos) -> None:
        self._photos = photos
        self._folder: Path = arguments.out
        self._precision: int = arguments.precision

    def begin(self, annotator: Annotator) -> None:
        """Open the store, or begin it."""
        self._store = MapStore(
            self._folder,
            annotator={**annotator.fingerprint, **_of_photos(self._photos)},
            class_names=annotator.class_names,
            precision=self._precision,
        )

    def clear_away(self) -> None:
        """In the store's folders."""
        paths = self._photos.paths
        folders = [self._folder, *(self._store.path(name).parent for name in paths if "/" in name)]
        sweep(folders, lambda name: name.endswith((".cpmap", ".json")))

    def holds(self, name: str) -> bool:
        """Whether the store has the map, made from the photo that is there now."""
        entry = self._store.entry(name)
        return entry is not None and self._photos.made(name, entry)

    def write(self, name: str, scores: Any) -> None:
        """Write the map."""
        self._store.write(name, scores, source=self._photos.source(name))

    def finish(self, done: int) -> dict[str, Any]:
        """Nothing is left to do."""
        return {"maps": str(self._folder)}


class LabelTarget:
    """Pseudo-label PNGs, as ``conformal-plugin filter`` makes them from a store of maps.

    Scores are rounded as the store rounds them, so that both ways give the same labels.

    Args:
        arguments: with ``calibration``, ``ignore_index``, ``rule``, ``precision``, ``photos``,
            ``out`` and ``root``.
        photos: where they are read, in the order of the list to write.
    """

    def __init__(self, arguments: argparse.Namespace, photos: TakenPhotos) -> None:
        self._arguments = arguments
        self._taken = photos
        self._photos = photos.paths
        self._qhat, self._ignore_index = threshold(arguments)
        refuse_uninformative(self._qhat)
        self._style = LabelStyle.of(arguments, self._qhat, self._ignore_index)
        self._summary = LabelSummary(self._ignore_index)
        self._counting = threading.Lock()

    def begin(self, annotator: Annotator) -> None:
        """Check the calibration against the annotator, and the folder against both."""
        arguments, calibration = self._arguments, self._qhat
        if calibration.num_classes != len(annotator.class_names):
            raise OptionError(
                f"{arguments.calibration} was made with {calibration.num_classes} classes and the "
                f"annotator has {len(annotator.class_names)}; calibrate on its maps"
            )
        made_by = annotator_digest(annotator.fingerprint, annotator.class_names)
        refuse_other_maps(arguments.calibration, made_by.hex(), "those of this annotator")
        asked = arguments.rule
        if asked is None and calibration.rule is None and annotator.background == "none":
            asked = RULES[1]
        rule, background = promised_rule(calibration, asked, None)
        self._labeller = Labeller(
            calibration, rule=rule, background=background, ignore_index=self._ignore_index
        )
        settings = {
            "qhat": np.asarray(calibration.qhat).tolist(),
            "alpha": calibration.alpha,
            "rule": rule,
            "background": background,
            "ignore_index": self._style.dropped,
            "precision": arguments.precision,
            "class_names": list(annotator.class_names),
            "annotator": {**annotator.fingerprint, **_of_photos(self._taken)},
            **cap_settings(calibration),
        }
        labelled: list[int] = calibration.pixels_per_class.tolist()
        self._folder = LabelFolder(arguments.out, settings, self._style, labelled=labelled)
        try:
            self._folder.begin(list(self._photos), overwrite=False)
        except OptionError:
            # Another rank may have begun between the look at the folder and the look at its labels.
            if not (arguments.out / MANIFEST).exists():
                raise
            self._folder.begin(list(self._photos), overwrite=False)

    def clear_away(self) -> None:
        """In the labels' folders."""
        self._folder.clear_away(list(self._photos))

    def holds(self, name: str) -> bool:
        """Whether the label is there, made with these settings from this photo; it is counted."""
        done = self._folder.existing(name, [self._photos[name]])
        if done is not None:
            self._count(done)
        return done is not None

    def write(self, name: str, scores: Any) -> None:
        """Filter the scores and write the label."""
        labels = self._labeller.labels(name, rounded(scores, self._arguments.precision))
        photo = self._taken.what_was_read(name)
        done = self._folder.write(
            name,
            labels,
            [self._photos[name]],
            [photo.state],
            num_classes=len(scores),
            checksum=photo.checksum,
        )
        self._count(done)

    def finish(self, done: int) -> dict[str, Any]:
        """Write the list of all labels that are there, of other ranks too."""
        if done == 0:
            return {"labels": str(self._arguments.out)}
        self._labeller.report(len(self._photos))  # of all ranks: one must not end the others
        path = self._arguments.out / _LIST
        text = None
        # Ranks end one after the other: what one wrote before another's last label is written anew.
        while text != (current := self._list()):
            atomic_write_text(path, current)
            text = current
        return {
            "labels": str(self._arguments.out),
            "id_list": str(path),
            "manifest": str(self._arguments.out / MANIFEST),
            **self._summary.content(),
        }

    def _list(self) -> str:
        there = [name for name in self._photos if self._folder.path(name).exists()]
        photos = [self._photos[name] for name in there]
        lines = pair_lines(self._arguments, photos, [self._folder.path(name) for name in there])
        return "".join(f"{line}\n" for line in lines)

    def _count(self, done: DoneLabel) -> None:
        with self._counting:
            self._summary.add(done.counts)


def _of_photos(photos: TakenPhotos) -> dict[str, Any]:
    """What scores depend on by the way photos are read."""
    turned = {"follow_exif": True} if photos.follow_exif else {}
    return {**turned, "window": str(photos.window)} if photos.window is not None else turned


def target(arguments: argparse.Namespace, photos: TakenPhotos) -> Target:
    """Labels where a calibration is given, else maps.

    Raises:
        OptionError: a result would replace what this run reads.
    """
    maps = arguments.calibration is None
    suffix, others = (".cpmap", ("store.json",)) if maps else (".png", (MANIFEST, RECORD, _LIST))
    refuse_inputs(
        {
            "the result": [arguments.out / f"{name}{suffix}" for name in photos.paths],
            "--out": [arguments.out / other for other in others],
        },
        {**named_files(arguments), "a photo": photos.paths.values()},
    )
    return MapTarget(arguments, photos) if maps else LabelTarget(arguments, photos)
