"""*Segmentation mask 1.1* of CVAT: an archive of one PNG a photo, each label a colour."""

from __future__ import annotations

import io
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np

from conformal_plugin._atomic import atomic_open
from conformal_plugin.errors import LabelError, OptionError, SourceFileError
from conformal_plugin.exchange._cvat_labels import write_cvat_labels
from conformal_plugin.exchange._sent import Sent, SentPhoto, Sheet
from conformal_plugin.exchange._vocabulary import Layer, Vocabulary
from conformal_plugin.exchange._zipped import Archive
from conformal_plugin.files import read_label, write_label
from conformal_plugin.scores import LabelMap, voc_colour

__all__ = ["read_cvat_masks", "write_cvat_masks"]

ARCHIVE: Final = "segmentation_mask.zip"
_CLASSES: Final = "SegmentationClass"
_OBJECTS: Final = "SegmentationObject"
_LABELS: Final = "labelmap.txt"
_NOTHING: Final = "background"  # what CVAT calls pixels under no mask
_REMEDY: Final = "export the task again as `Segmentation mask 1.1`"
_TEXT: Final = 2**20


def write_cvat_masks(folder: Path, vocabulary: Vocabulary, sheets: Iterable[Sheet]) -> list[Path]:
    """Write ``segmentation_mask.zip``, to be uploaded to a task with these photos, and its labels.

    Raises:
        OptionError: a class whose name this format has for itself or cannot hold.
    """
    colours = {_NOTHING: (0, 0, 0), **_colours(vocabulary)}
    by_number = bytes(channel for colour in colours.values() for channel in colour)
    objects = bytes(channel for number in range(256) for channel in voc_colour(number))
    names = []
    path = folder / ARCHIVE
    with atomic_open(path) as handle, zipfile.ZipFile(handle, "w") as archive:
        lines = [f"{name}:{','.join(map(str, colour))}::" for name, colour in colours.items()]
        header = "# label:color_rgb:parts:actions"
        archive.writestr(_member(_LABELS), "\n".join([header, *lines]) + "\n")
        for sheet in sheets:
            name = str(PurePosixPath(sheet.photo.file).with_suffix(""))
            names.append(name)
            if sheet.labels is None:
                continue
            numbers = vocabulary.indices(sheet.labels).astype(np.uint8)
            # An object for each label: CVAT asks which pixels are one, and nobody knows.
            for where, palette in ((_CLASSES, by_number), (_OBJECTS, objects)):
                archive.writestr(_member(f"{where}/{name}.png"), _png(numbers, palette))
        listed = "".join(f"{name}\n" for name in names)
        archive.writestr(_member("ImageSets/Segmentation/default.txt"), listed)
    return [path, write_cvat_labels(folder, vocabulary)]


def _member(name: str) -> zipfile.ZipInfo:
    """Without the time of day: the same labels are the same file."""
    return zipfile.ZipInfo(name)


def read_cvat_masks(path: Path, sent: Sent) -> Iterator[tuple[SentPhoto, list[Layer], bool]]:
    """Each photo that has masks in an export of CVAT's, and its masks; none of them is marked.

    Args:
        path: the archive, or the folder that it was unpacked to.
        sent: what was sent.

    Raises:
        SourceFileError: not such an archive, an unknown label, colour or photo, or a photo of
            another size.
    """
    archive = Archive(path, _LABELS, _REMEDY)
    colours = _listed(path, archive.read(_LABELS, _TEXT))
    numbers = {label: number for number, label in enumerate(sent.vocabulary.labels, start=1)}
    strange = [name for name in colours if name not in numbers and name != _NOTHING]
    if strange:
        raise SourceFileError(
            f"{path} has the label {strange[0]!r}, and the labels are {', '.join(numbers)}; rename "
            f"it in CVAT"
        )
    named = {colour: numbers.get(name, 0) for name, colour in colours.items()}
    label_map = LabelMap({(0, 0, 0): 0} | named | {"*": "refuse"})
    with tempfile.TemporaryDirectory() as unpacked:
        one = Path(unpacked) / "mask.png"
        for inside in archive.files(_CLASSES, ".png"):
            photo = sent.named(inside.removeprefix(f"{_CLASSES}/"))
            one.write_bytes(archive.read(inside, _TEXT + 8 * photo.height * photo.width))
            try:
                values = read_label(one, label_map)
            except (SourceFileError, LabelError) as error:
                raise SourceFileError(f"{inside} in {path}: {error}") from error
            if values.shape != photo.size:
                raise SourceFileError(
                    f"{inside} in {path} has {values.shape[1]} x {values.shape[0]} pixels, and the "
                    f"photo {photo.file} has {photo.width} x {photo.height}; name the export it "
                    f"comes from"
                )
            yield photo, sent.vocabulary.layers_of_indices(values), False


def _colours(vocabulary: Vocabulary) -> Mapping[str, tuple[int, int, int]]:
    for name in vocabulary.labels:
        if name == _NOTHING or ":" in name or name.startswith("#") or name != name.strip():
            raise OptionError(
                f"a label cannot be called {name!r} in CVAT's Segmentation mask format, which "
                f"keeps {_NOTHING!r} for pixels under no mask and separates by colons; rename the "
                f"class, or export --to cvat"
            )
    return vocabulary.colours()


def _png(numbers: np.ndarray[Any, Any], palette: bytes) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mask.png"
        write_label(path, numbers, palette=palette)
        return path.read_bytes()


def _listed(path: Path, content: bytes) -> dict[str, tuple[int, ...]]:
    """The colours of the labels, by their names."""
    found: dict[str, tuple[int, ...]] = {}
    try:
        for line in io.StringIO(content.decode("utf-8")):
            if line.strip() and not line.startswith("#"):
                name, colour, _, _ = line.strip().split(":")
                red, green, blue = (int(channel) for channel in colour.split(","))
                found[name] = (red, green, blue)
        return found
    except ValueError as error:
        raise SourceFileError(f"cannot read {_LABELS} in {path} ({error}); {_REMEDY}") from error
