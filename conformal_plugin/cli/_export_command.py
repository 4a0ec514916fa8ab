"""``conformal-plugin export``: labels in the import format of an annotation tool."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from conformal_plugin._atomic import sweep
from conformal_plugin._choices import RULES
from conformal_plugin.annotators import class_list
from conformal_plugin.cli._inputs import (
    class_or_none,
    find_labels,
    find_photos,
    ids_of_list,
    naming,
)
from conformal_plugin.cli._label_folder import made_with
from conformal_plugin.cli._label_maps import label_reader
from conformal_plugin.cli._outputs import named_files, refuse_inputs
from conformal_plugin.cli._progress import progress
from conformal_plugin.cli._report import print_json
from conformal_plugin.errors import LabelError, OptionError, ShapeError
from conformal_plugin.exchange import (
    SENT,
    SentPhoto,
    Sheet,
    Vocabulary,
    export_files,
    labels_checksum,
    write_export,
)
from conformal_plugin.files import (
    IdList,
    LazySequence,
    ids_in_folder,
    label_suffixes,
    photo_orientation,
    photo_size,
)

__all__ = ["run"]

_BACKGROUND = "background"


def run(arguments: argparse.Namespace) -> None:
    """Write the export, and print what is to be done with it."""
    ids = _ids(arguments)
    vocabulary = _vocabulary(arguments)
    arguments.ignore_index = vocabulary.ignore_index
    photos = find_photos(arguments, ids)
    labels = [] if arguments.blank else find_labels(arguments, ids)
    _refuse_earlier(arguments)
    places = [_place(arguments, path) for path in photos]
    files = export_files(arguments.out, arguments.to, places)
    refuse_inputs(
        {"--out": files}, {**named_files(arguments), "a photo": photos, "a label": labels}
    )
    sweep({file.parent for file in files}, {file.name for file in files}.__contains__)
    sheets = _sheets(arguments, ids, photos, labels, vocabulary)
    work = progress(sheets, "export", total=len(ids), quiet=arguments.quiet)
    written = write_export(arguments.out, arguments.to, vocabulary, work, prefix=arguments.prefix)
    paths = [str(path) for path in written]
    if arguments.json:
        print_json({"files": paths, "photos": len(ids), "labels": list(vocabulary.labels)})
        return
    bare = "without labels" if arguments.blank else "with their labels"
    print(f"{len(ids)} photos {bare}: {', '.join(paths)}")
    print(f"{arguments.out / SENT} is what `conformal-plugin import` needs; keep it.")


def _place(arguments: argparse.Namespace, photo: Path) -> str:
    return photo.relative_to(arguments.photos).as_posix()


def _ids(arguments: argparse.Namespace) -> IdList:
    if arguments.ids is not None:
        return ids_of_list(arguments, arguments.ids)
    if arguments.blank:
        raise OptionError("--blank takes the photos of --ids; say which")
    return ids_in_folder(arguments.labels, label_suffixes(arguments.labels), "label")


def _vocabulary(arguments: argparse.Namespace) -> Vocabulary:
    """The classes; background and ignore index as typed, or as the labels were made.

    Raises:
        OptionError: nothing says which class is the background.
    """
    names = tuple(class_list(arguments.names).class_names)
    made = {} if arguments.blank else made_with(arguments.labels)
    made = {} if "own_numbers" in made else made
    if arguments.background is not None:
        background = class_or_none(arguments.background)
    elif _BACKGROUND in names:
        background = names.index(_BACKGROUND)
    elif made.get("rule") == RULES[0]:
        background = made["background"]
    else:
        raise OptionError(
            f"no class of --names is called {_BACKGROUND}, so it takes a word on which one nobody "
            f"has to paint; give it with --background, or none where all are to be painted"
        )
    given = arguments.ignore_index
    return Vocabulary(names, background, made.get("ignore_index", 255) if given is None else given)


def _refuse_earlier(arguments: argparse.Namespace) -> None:
    if (arguments.out / SENT).exists() and not arguments.overwrite:
        raise OptionError(
            f"{arguments.out} holds an export already, which is needed to import what comes back; "
            f"choose another folder, or pass --overwrite"
        )


def _sheets(
    arguments: argparse.Namespace,
    ids: IdList,
    photos: list[Path],
    labels: list[Path],
    vocabulary: Vocabulary,
) -> Iterator[Sheet]:
    """The photos one after the other, each held to its label."""
    reader = label_reader(arguments)
    maps = LazySequence(reader, labels) if labels else [None] * len(ids)
    for name, path, values in zip(ids, photos, maps):
        with naming(name):
            if photo_orientation(path) != 1 and not arguments.follow_exif:
                raise OptionError(
                    f"the EXIF of {path} says that it is to be turned, which annotation tools do "
                    f"and the labels do not; pass --follow-exif if the labels are of turned "
                    f"photos, or store the photo as it is to be seen"
                )
            height, width = photo_size(path, follow_exif=arguments.follow_exif)[:2]
            photo = SentPhoto(name, _place(arguments, path), height, width, None)
            if values is not None:
                _require_fitting(values, photo, vocabulary)
                photo = replace(photo, checksum=labels_checksum(values))
            yield Sheet(photo, path, values)


def _require_fitting(
    labels: np.ndarray[Any, Any], photo: SentPhoto, vocabulary: Vocabulary
) -> None:
    if labels.shape != photo.size:
        raise ShapeError(
            f"the label has shape {labels.shape} and the photo {photo.size}: labels of photos, of "
            f"their size, can be shown in a tool"
        )
    known = {*range(len(vocabulary.classes)), vocabulary.ignore_index}
    strange = sorted(set(np.unique(labels).tolist()) - known)
    if strange:
        raise LabelError(
            f"the label holds {strange[:5]}, and --names has {len(vocabulary.classes)} classes; "
            f"name all of them, or say what the values mean with --label-map"
        )
