"""FiftyOne's *ImageSegmentationDirectory*: a PNG a photo, and where the photos lie."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final

import numpy as np

from conformal_plugin._atomic import atomic_write_text
from conformal_plugin.errors import OptionError, SourceFileError
from conformal_plugin.exchange._sent import Sent, SentPhoto, Sheet
from conformal_plugin.exchange._vocabulary import Layer, Vocabulary
from conformal_plugin.files import IdFolder, ids_in_folder, read_label, write_label

__all__ = ["mask_files", "read_fiftyone", "returned_masks", "write_fiftyone"]

LABELS: Final = "labels"
PHOTOS: Final = "data.json"
TARGETS: Final = "mask_targets.json"
_SUFFIX: Final = ".png"


def mask_files(folder: Path, photos: Iterable[str]) -> list[Path]:
    """Where :func:`write_fiftyone` writes the masks of photos, by the photos' places."""
    files = IdFolder(folder / LABELS, _SUFFIX, "export")
    return [_mask_file(files, photo) for photo in photos]


def _mask_file(files: IdFolder, photo: str) -> Path:
    return files.path(str(PurePosixPath(photo).with_suffix("")))


def write_fiftyone(folder: Path, vocabulary: Vocabulary, sheets: Iterable[Sheet]) -> list[Path]:
    """Write ``labels/``, ``data.json`` with the photos' places, and ``mask_targets.json``.

    Masks are grey, and 0 is what FiftyOne does not show: the background.
    """
    wide = len(vocabulary.labels) > 255
    files = IdFolder(folder / LABELS, _SUFFIX, "export")
    photos = {}
    for sheet in sheets:
        photos[sheet.photo.file] = str(sheet.path.absolute())
        if sheet.labels is not None:
            numbers = vocabulary.indices(sheet.labels)
            write_label(
                _mask_file(files, sheet.photo.file),
                numbers if wide else numbers.astype(np.uint8),
                grey=16 if wide else 8,
            )
    places, targets = folder / PHOTOS, folder / TARGETS
    atomic_write_text(places, json.dumps(photos, indent=1) + "\n")
    named = {str(number): label for number, label in enumerate(vocabulary.labels, start=1)}
    atomic_write_text(targets, json.dumps(named, indent=1) + "\n")
    return [folder / LABELS, places, targets]


def returned_masks(path: Path) -> dict[str, Path]:
    """The masks in a folder of FiftyOne's, or in its ``labels``, by the photos' names."""
    folder = path / LABELS if (path / LABELS).is_dir() else path
    return {name: folder / f"{name}{_SUFFIX}" for name in ids_in_folder(folder, [_SUFFIX], "mask")}


def read_fiftyone(path: Path, sent: Sent) -> Iterator[tuple[SentPhoto, list[Layer], bool]]:
    """Each photo that has a mask in a folder of FiftyOne's, and its masks; none of them is marked.

    Args:
        path: the folder of the export, or its ``labels``.
        sent: what was sent.

    Raises:
        SourceFileError: unreadable, numbers that are no label's, an unknown photo, or a photo of
            another size.
    """
    for name, file in returned_masks(path).items():
        photo = sent.named(f"{name}{_SUFFIX}")
        values = read_label(file)
        if values.shape != photo.size:
            raise SourceFileError(
                f"{file} has {values.shape[1]} x {values.shape[0]} pixels, and the photo "
                f"{photo.file} has {photo.width} x {photo.height}; name the export it comes from"
            )
        try:
            yield photo, sent.vocabulary.layers_of_indices(values), False
        except OptionError as error:
            raise SourceFileError(f"{file}: {error}; see {TARGETS}") from error
