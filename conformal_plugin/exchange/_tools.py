"""The tools by name: an export written for one, and what came back from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from conformal_plugin.errors import OptionError
from conformal_plugin.exchange import _cvat_labels, _fiftyone
from conformal_plugin.exchange._cvat_images import (
    ANNOTATIONS,
    read_cvat_images,
    write_cvat_images,
)
from conformal_plugin.exchange._cvat_masks import ARCHIVE, read_cvat_masks, write_cvat_masks
from conformal_plugin.exchange._fiftyone import mask_files, read_fiftyone, write_fiftyone
from conformal_plugin.exchange._label_studio import (
    INTERFACE,
    TASKS,
    read_label_studio,
    write_label_studio,
)
from conformal_plugin.exchange._sent import SENT, Sent, SentPhoto, Sheet
from conformal_plugin.exchange._vocabulary import Composed, Layer, Vocabulary

__all__ = ["Returned", "export_files", "read_returned", "write_export"]

_Writer = Callable[[Path, Vocabulary, Iterable[Sheet]], list[Path]]
_Reader = Callable[[Path, Sent], Iterator[tuple[SentPhoto, list[Layer], bool]]]


@dataclass(frozen=True)
class _Tool:
    """How a tool is written for and read, and the files for it, but for a file a photo."""

    write: _Writer
    read: _Reader
    files: tuple[str, ...]


_TOOLS: Final[Mapping[str, _Tool]] = {
    "cvat": _Tool(write_cvat_images, read_cvat_images, (ANNOTATIONS, _cvat_labels.LABELS)),
    "cvat-masks": _Tool(write_cvat_masks, read_cvat_masks, (ARCHIVE, _cvat_labels.LABELS)),
    "label-studio": _Tool(write_label_studio, read_label_studio, (TASKS, INTERFACE)),
    "fiftyone": _Tool(write_fiftyone, read_fiftyone, (_fiftyone.PHOTOS, _fiftyone.TARGETS)),
}


@dataclass(frozen=True, eq=False)
class Returned:
    """A photo that came back from a tool.

    Attributes:
        photo: as it was sent.
        composed: its labels, and how many pixels nobody has decided.
        marked: whether the tool's file says that a person is done with it.
    """

    photo: SentPhoto
    composed: Composed
    marked: bool


def export_files(folder: Path, tool: str, photos: Iterable[str]) -> list[Path]:
    """All files that :func:`write_export` writes.

    Args:
        folder: where to.
        tool: one that it knows.
        photos: their places below the folder of photos.
    """
    files = [folder / name for name in (*_TOOLS[tool].files, SENT)]
    return [*files, *mask_files(folder, photos)] if tool == "fiftyone" else files


def write_export(
    folder: Path, tool: str, vocabulary: Vocabulary, sheets: Iterable[Sheet], *, prefix: str = ""
) -> list[Path]:
    """Write photos' labels for a tool, one photo after the other, and what was sent beside them.

    Args:
        folder: where to.
        tool: ``cvat``, ``cvat-masks``, ``label-studio`` or ``fiftyone``.
        vocabulary: what the masks mean.
        sheets: the photos; each is forgotten before the next one is taken.
        prefix: for Label Studio, what comes before a photo's path in its address.

    Returns:
        The files for the tool.

    Raises:
        OptionError: another tool, or class names that its format cannot hold.
    """
    if tool not in _TOOLS:
        raise OptionError(f"labels go to one of {', '.join(_TOOLS)}, got {tool!r}")
    writer = _TOOLS[tool].write
    if tool == "label-studio":
        writer = partial(write_label_studio, prefix=prefix)
    photos: list[SentPhoto] = []

    def noted() -> Iterator[Sheet]:
        for sheet in sheets:
            photos.append(sheet.photo)
            yield sheet

    written = writer(folder, vocabulary, noted())
    Sent(tool, vocabulary, tuple(photos)).write(folder)
    return written


def read_returned(path: Path, sent: Sent, tool: str | None = None) -> Iterator[Returned]:
    """The photos in a tool's export, one after the other.

    Args:
        path: the file or folder that the tool wrote.
        sent: what was sent.
        tool: that wrote it; None for the one that the export was for.

    Raises:
        SourceFileError: not such a file, or not of this export.
        OptionError: another tool.
    """
    written_by = _TOOLS.get(tool or sent.tool)
    if written_by is None:
        raise OptionError(f"labels come from one of {', '.join(_TOOLS)}, got {tool!r}")
    for photo, layers, marked in written_by.read(path, sent):
        yield Returned(photo, sent.vocabulary.compose(layers, photo.size), marked)
