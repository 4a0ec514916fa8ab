"""``conformal-plugin rehearse``: do pseudo-labels help a student, from folders."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn.functional import interpolate

from conformal_plugin._atomic import atomic_write_text, sweep
from conformal_plugin.cli._groups import groups_of
from conformal_plugin.cli._inputs import (
    find_labels,
    find_photos,
    ids_of_list,
    naming,
    naming_of,
)
from conformal_plugin.cli._label_folder import made_with
from conformal_plugin.cli._label_maps import label_reader
from conformal_plugin.cli._label_style import LabelStyle
from conformal_plugin.cli._named_objects import named_object
from conformal_plugin.cli._outputs import named_files, refuse_folders, refuse_inputs
from conformal_plugin.cli._progress import Readings, progress
from conformal_plugin.cli._rehearse_arguments import LITE
from conformal_plugin.cli._report import note, print_json
from conformal_plugin.errors import OptionError, ShapeError
from conformal_plugin.files import (
    IdList,
    LabelReader,
    LazySequence,
    find_files,
    ids_in_folder,
    label_suffixes,
    photo_size,
    read_photo,
)
from conformal_plugin.rehearsing import LiteEncoder, Rehearsal, rehearse
from conformal_plugin.scores import LabelMap

__all__ = ["run"]

_FEWEST = 32

Labels = npt.NDArray[Any]
Photo = npt.NDArray[np.uint8]


def run(arguments: argparse.Namespace) -> None:
    """Rehearse, write what is asked for, and print the outcome."""
    for option, least in (("long_side", _FEWEST), ("most_unlabelled", 1)):
        if getattr(arguments, option) < least:
            raise OptionError(
                f"--{option.replace('_', '-')} must be at least {least}, got "
                f"{getattr(arguments, option)}"
            )
    refuse_folders(arguments, "output")
    output: Path | None = arguments.output
    ids = _labelled(arguments)
    photos, labels = find_photos(arguments, ids), find_labels(arguments, ids)
    others, more = _unlabelled(arguments, photos)
    pseudo = _find_pseudo(arguments, others)
    refuse_inputs(
        {"--output": [output]},
        {
            **named_files(arguments),
            "a photo": [*photos, *more],
            "a label": labels,
            "a pseudo-label": pseudo,
        },
    )
    encode = _encoder(arguments)
    true, given = label_reader(arguments), _pseudo_reader(arguments)
    groups = groups_of(arguments, ids)
    rehearsal = rehearse(
        Readings(_of_all(encode, ids, photos), "labelled photos", quiet=arguments.quiet),
        _of_all(partial(_fitted, arguments, true), ids, labels, photos),
        Readings(_of_all(encode, others, more), "unlabelled photos", quiet=arguments.quiet),
        _of_all(partial(_fitted, arguments, given), others, pseudo, more),
        classes=arguments.classes,
        groups=None if groups is None else [groups[name] for name in ids],
        folds=arguments.folds,
        deals=arguments.deals,
        ignore_index=_ignore_index(arguments),
        seed=arguments.seed,
        follow=lambda trainings: progress(
            trainings, "students", total=len(trainings), quiet=arguments.quiet
        ),
    )
    if output is not None:
        sweep([output.parent], output.name.__eq__)
        atomic_write_text(output, rehearsal.to_json())
    if arguments.json:
        print_json(json.loads(rehearsal.to_json()))
    else:
        _print(rehearsal)


def _labelled(arguments: argparse.Namespace) -> IdList:
    if arguments.ids is not None:
        return ids_of_list(arguments, arguments.ids)
    return ids_in_folder(arguments.labels, label_suffixes(arguments.labels), "label")


def _unlabelled(
    arguments: argparse.Namespace, labelled: Sequence[Path]
) -> tuple[IdList, list[Path]]:
    """Those that were listed, or have a pseudo-label, but none that is labelled; not too many."""
    folder: Path = arguments.pseudo_labels
    if arguments.unlabelled is not None:
        ids = ids_of_list(arguments, arguments.unlabelled)
    else:
        ids = ids_in_folder(folder, label_suffixes(folder), "label")
    known = set(labelled)
    paths = find_photos(arguments, ids)
    places = [place for place, path in enumerate(paths) if path not in known]
    if len(places) < len(paths):
        note(
            f"{len(paths) - len(places)} photos are labelled and are not taken for unlabelled ones",
            quiet=arguments.quiet,
        )
    if not places:
        raise OptionError(
            f"every photo with a pseudo-label in {folder} is among the labelled ones, and a "
            f"rehearsal needs unlabelled photos; pass the labels that `filter` made of these"
        )
    if len(places) > arguments.most_unlabelled:
        note(
            f"{arguments.most_unlabelled} of the {len(places)} unlabelled photos are looked at "
            f"(--most-unlabelled)",
            quiet=arguments.quiet,
        )
        drawn = np.random.default_rng(arguments.seed)
        places = sorted(drawn.choice(places, arguments.most_unlabelled, replace=False).tolist())
    return ids.take(places), [paths[place] for place in places]


def _find_pseudo(arguments: argparse.Namespace, ids: IdList) -> list[Path]:
    folder: Path = arguments.pseudo_labels
    return find_files(folder, ids, label_suffixes(folder), "label", naming_of(arguments))


def _fitted(
    arguments: argparse.Namespace, read: Callable[[Path], Labels], path: Path, photo: Path
) -> Labels:
    """A label map, which is of its photo's size.

    Raises:
        ShapeError: it is not.
    """
    labels = read(path)
    size = photo_size(photo, follow_exif=arguments.follow_exif)
    if labels.shape != size:
        raise ShapeError(
            f"the label {path} is of {labels.shape} and the photo {photo} of {size}; labels lie "
            f"over their photos pixel by pixel (--follow-exif turns photos as their EXIF says)"
        )
    return labels


def _ignore_index(arguments: argparse.Namespace) -> int:
    return 255 if arguments.ignore_index is None else int(arguments.ignore_index)


def _pseudo_reader(arguments: argparse.Namespace) -> Callable[[Path], Labels]:
    """Reads classes of pseudo-labels, however `filter` was told to write them."""
    ignore_index = _ignore_index(arguments)
    made = made_with(arguments.pseudo_labels)
    read = LabelReader(None, ignore_index)
    dropped = made.get("ignore_index", ignore_index)
    own = LabelMap.of(made["own_numbers"]) if "own_numbers" in made else None
    style = LabelStyle(ignore_index, dropped, own=own)

    def classes(path: Path) -> Labels:
        values = read(path)
        if own is not None:
            return style.read(values)
        return np.where(values == dropped, ignore_index, values)

    return classes


def _encoder(arguments: argparse.Namespace) -> Callable[[Path], Any]:
    """From the file of a photo to its features.

    Raises:
        MissingExtraError: the encoder needs an extra.
        OptionError: no such function.
    """
    lite = arguments.encoder == LITE
    encode = LiteEncoder(arguments.device) if lite else named_object(arguments.encoder, "--encoder")
    if not callable(encode):
        raise OptionError(
            f"--encoder {arguments.encoder} is no function; name one that makes features (C, h, w) "
            f"of a photo (H, W, 3) uint8"
        )

    def features(path: Path) -> Any:
        photo = read_photo(path, follow_exif=arguments.follow_exif)
        return encode(_shrunk(photo, arguments.long_side))

    return features


def _shrunk(photo: Photo, most: int) -> Photo:
    longer = max(photo.shape[:2])
    if longer <= most:
        return photo
    size = [max(1, round(side * most / longer)) for side in photo.shape[:2]]
    planes = torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1))).float()[None]
    small = interpolate(planes, size=size, mode="bilinear", antialias=True, align_corners=False)
    return np.ascontiguousarray(small[0].round().byte().permute(1, 2, 0).numpy())


def _of_all(work: Callable[..., Any], ids: IdList, *paths: Sequence[Path]) -> LazySequence[Any]:
    """What ``work`` makes of the files of each image, whose id is put before its errors."""

    def named(source: tuple[Any, ...]) -> Any:
        name, *files = source
        with naming(name):
            return work(*files)

    return LazySequence(named, list(zip(ids, *paths)))


def _print(rehearsal: Rehearsal) -> None:
    print(f"{'class':>5} {'alone':>7} {'with':>7}")
    for c in rehearsal.classes:
        print(f"{c:>5} {100 * rehearsal.iou_alone[c]:>7.1f} {100 * rehearsal.iou[c]:>7.1f}")
    print(f"{'mIoU':>5} {100 * rehearsal.miou_alone:>7.1f} {100 * rehearsal.miou:>7.1f}")
    print(
        f"\n{rehearsal.n_labelled} labelled photos in {rehearsal.folds} folds, dealt "
        f"{rehearsal.deals} times, "
        f"{rehearsal.n_unlabelled} unlabelled ones, of whose points {100 * rehearsal.kept:.1f} % "
        f"have a pseudo-label\n{rehearsal.verdict}"
    )
