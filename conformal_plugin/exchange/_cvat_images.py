"""*CVAT for images 1.1*: one XML file, written with masks, read with polygons and boxes, too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from conformal_plugin._atomic import atomic_open
from conformal_plugin.errors import SourceFileError
from conformal_plugin.exchange._cvat_labels import cvat_labels, write_cvat_labels
from conformal_plugin.exchange._cvat_shapes import SHAPES, UNREAD, mask_of_shape, whole_number
from conformal_plugin.exchange._runs import runs_of_mask
from conformal_plugin.exchange._sent import Sent, SentPhoto, Sheet
from conformal_plugin.exchange._vocabulary import CHECKED, Layer, Vocabulary
from conformal_plugin.exchange._zipped import member

__all__ = ["read_cvat_images", "write_cvat_images"]

ANNOTATIONS: Final = "annotations.xml"
_REMEDY: Final = "export the task again as `CVAT for images 1.1`"


def write_cvat_images(folder: Path, vocabulary: Vocabulary, sheets: Iterable[Sheet]) -> list[Path]:
    """Write ``annotations.xml``, to be uploaded to a task with these photos, and its labels."""
    path = folder / ANNOTATIONS
    with atomic_open(path) as handle:
        handle.write(b'<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n')
        handle.write(f"  <version>1.1</version>\n{_meta(vocabulary)}".encode())
        for number, sheet in enumerate(sheets):
            photo = sheet.photo
            name = quoteattr(photo.file)
            size = f'width="{photo.width}" height="{photo.height}"'
            lines = [f'  <image id="{number}" name={name} {size}>']
            if sheet.labels is not None:
                lines += [_mask(layer) for layer in vocabulary.layers(sheet.labels)]
            lines.append("  </image>\n")
            handle.write("\n".join(lines).encode())
        handle.write(b"</annotations>\n")
    return [path, write_cvat_labels(folder, vocabulary)]


def read_cvat_images(path: Path, sent: Sent) -> Iterator[tuple[SentPhoto, list[Layer], bool]]:
    """Each photo of an export of CVAT's, its shapes in order, and whether it is marked.

    Args:
        path: ``annotations.xml``, or the archive that holds it.
        sent: what was sent.

    Raises:
        SourceFileError: not such a file, another shape than a mask, a polygon or a box, an unknown
            label or photo, or a photo of another size.
    """
    reading = _Reading(path, sent)
    for piece in member(path, ANNOTATIONS, _REMEDY):
        yield from reading.feed(piece)
    yield from reading.feed(b"", last=True)


def _meta(vocabulary: Vocabulary) -> str:
    """The labels of the task, which other readers of this format ask for."""
    labels = "".join(
        f"    <label><name>{escape(label['name'])}</name><color>{label['color']}</color>"
        f"<type>{label['type']}</type><attributes></attributes></label>\n"
        for label in cvat_labels(vocabulary)
    )
    return f"  <meta><task><labels>\n{labels}  </labels></task></meta>\n"


def _mask(layer: Layer) -> str:
    """A mask as CVAT has it: the runs of its box, which holds all of it."""
    rows, columns = (np.flatnonzero(layer.mask.any(axis=axis)) for axis in (1, 0))
    top, left = int(rows[0]), int(columns[0])
    box = layer.mask[top : rows[-1] + 1, left : columns[-1] + 1]
    runs = ", ".join(map(str, runs_of_mask(box).tolist()))
    return (
        f'    <mask label={quoteattr(layer.label)} source="auto" occluded="0" rle="{runs}" '
        f'left="{left}" top="{top}" width="{box.shape[1]}" height="{box.shape[0]}" z_order="0"/>'
    )


@dataclass
class _Image:
    """What was read of an image so far; masks with the order in which they lie upon each other."""

    photo: SentPhoto
    masks: list[tuple[int, Layer]] = field(default_factory=list)
    checked: bool = False


class _Reading:
    """Reads the file piece by piece, and gives an image when it ends."""

    def __init__(self, path: Path, sent: Sent) -> None:
        self._path = path
        self._sent = sent
        self._labels = frozenset(sent.vocabulary.labels)
        self._image: _Image | None = None
        self._done: list[_Image] = []
        self._elements = 0
        # Which is what CVAT writes: an encoding that nobody knows is no error of the parser's.
        self._parser = expat.ParserCreate("utf-8")
        self._parser.StartElementHandler = self._begin
        self._parser.EndElementHandler = self._end
        self._parser.StartDoctypeDeclHandler = self._refuse_doctype

    def feed(
        self, piece: bytes, *, last: bool = False
    ) -> Iterator[tuple[SentPhoto, list[Layer], bool]]:
        try:
            self._parser.Parse(piece, last)
        except expat.ExpatError as error:
            raise self._error(str(error)) from error
        done, self._done = self._done, []
        for image in done:
            # Stable: of equal heights the later one is above.
            masks = sorted(image.masks, key=lambda placed: placed[0])
            yield image.photo, [layer for _, layer in masks], image.checked

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        self._elements += 1
        if self._elements == 1 and name != "annotations":
            raise self._error(f"it begins with <{name}>")
        if name == "image":
            self._image = _Image(self._photo(attributes))
        elif self._image is None:
            if name == "track":
                raise self._error("it holds tracks of a video")
        elif name in SHAPES:
            self._image.masks.append(self._placed(self._image.photo, name, attributes))
        elif name == "tag":
            self._image.checked |= attributes.get("label") == CHECKED
        elif name in UNREAD:
            raise SourceFileError(
                f"the photo {self._image.photo.file} in {self._path} has a {name}, and masks, "
                f"polygons and boxes are read here; export the task as `Segmentation mask 1.1`, in "
                f"which CVAT makes masks of all shapes, and import that with --from cvat-masks"
            )

    def _end(self, name: str) -> None:
        if name == "image" and self._image is not None:
            self._done.append(self._image)
            self._image = None

    def _photo(self, attributes: dict[str, str]) -> SentPhoto:
        photo = self._sent.named(self._text(attributes, "name"))
        try:
            size = whole_number(attributes, "height"), whole_number(attributes, "width")
        except ValueError as error:
            raise self._error(f"{photo.file}: {error}") from error
        if size != photo.size:
            raise SourceFileError(
                f"the photo {photo.file} has {size[1]} x {size[0]} pixels in {self._path}, and "
                f"{photo.width} x {photo.height} in the export; name the export it comes from"
            )
        return photo

    def _placed(
        self, photo: SentPhoto, shape: str, attributes: dict[str, str]
    ) -> tuple[int, Layer]:
        label = self._text(attributes, "label")
        if label not in self._labels:
            raise SourceFileError(
                f"the photo {photo.file} in {self._path} has a {shape} of the label {label!r}, and "
                f"the labels are {', '.join(self._sent.vocabulary.labels)}; rename it in CVAT"
            )
        try:
            mask = mask_of_shape(shape, attributes, photo.size)
            height = whole_number(attributes, "z_order", 0)
        except ValueError as error:
            raise self._error(f"a {shape} of {photo.file}: {error}") from error
        return height, Layer(label, mask)

    def _text(self, attributes: dict[str, str], key: str) -> str:
        if key not in attributes:
            raise self._error(f"an element lacks its {key}")
        return attributes[key]

    def _refuse_doctype(self, *_declared: object) -> None:
        raise self._error("it declares a document type, as CVAT's files do not")

    def _error(self, reason: str) -> SourceFileError:
        return SourceFileError(
            f"cannot read {self._path} as `CVAT for images 1.1` ({reason}); {_REMEDY}"
        )
