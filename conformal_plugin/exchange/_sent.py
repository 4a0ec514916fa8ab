"""What was sent to a tool, kept beside it: without that, nothing that comes back is understood."""

from __future__ import annotations

import zlib
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Final

import numpy as np

from conformal_plugin._atomic import atomic_write_text
from conformal_plugin._json import parsed
from conformal_plugin._messages import shortened
from conformal_plugin._sealed import refuse_changed, sealed
from conformal_plugin.errors import SourceFileError
from conformal_plugin.exchange._vocabulary import Vocabulary

__all__ = ["SENT", "Sent", "SentPhoto", "Sheet", "labels_checksum"]

SENT: Final = "sent.json"
"""The file's name."""

_FORMAT: Final = "conformal-plugin export"
_VERSION: Final = 1
_FIELDS: Final = ("format", "version", "tool", "classes", "background", "ignore_index", "photos")


@dataclass(frozen=True)
class SentPhoto:
    """A photo of an export.

    Attributes:
        name: its id.
        file: what it is called in the tool: its path below the folder of photos.
        height: of the photo, in pixels.
        width: likewise.
        checksum: CRC-32 of the label map that was sent; None of a photo that was sent bare.
    """

    name: str
    file: str
    height: int
    width: int
    checksum: int | None

    @property
    def size(self) -> tuple[int, int]:
        """``(H, W)``."""
        return self.height, self.width


@dataclass(frozen=True, eq=False)
class Sheet:
    """A photo on its way to a tool.

    Attributes:
        photo: which.
        path: the photo on this disk.
        labels: class indices ``(H, W)``; None where nothing is to be shown.
    """

    photo: SentPhoto
    path: Path
    labels: np.ndarray[Any, Any] | None


@dataclass(frozen=True)
class Sent:
    """An export.

    Attributes:
        tool: that it was written for.
        vocabulary: what its masks mean.
        photos: what was sent.
    """

    tool: str
    vocabulary: Vocabulary
    photos: tuple[SentPhoto, ...]

    def write(self, folder: Path) -> None:
        """Write it beside the export."""
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "tool": self.tool,
            "classes": self.vocabulary.classes,
            "background": self.vocabulary.background,
            "ignore_index": self.vocabulary.ignore_index,
            "photos": [asdict(photo) for photo in self.photos],
        }
        atomic_write_text(folder / SENT, sealed(content))

    @classmethod
    def read(cls, folder: Path) -> Sent:
        """The export in a folder.

        Raises:
            SourceFileError: there is none, it is not of this release, or it is damaged.
        """
        path = folder / SENT
        try:
            content = parsed(path.read_text(encoding="utf-8"))
            if (content["format"], content["version"]) != (_FORMAT, _VERSION):
                raise ValueError("it is of another release or another program")
            vocabulary = Vocabulary(
                tuple(map(str, content["classes"])), content["background"], content["ignore_index"]
            )
            photos = tuple(SentPhoto(**photo) for photo in content["photos"])
            refuse_changed(content, _FIELDS, "export again")
            return cls(str(content["tool"]), vocabulary, photos)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SourceFileError(
                f"cannot read {path} ({shortened(error)}); name the folder that `conformal-plugin "
                f"export` wrote"
            ) from error

    @cached_property
    def _by_key(self) -> dict[tuple[int, str], list[SentPhoto]]:
        found: dict[tuple[int, str], list[SentPhoto]] = {}
        for photo in self.photos:
            for key in enumerate(_keys(photo.file)):
                found.setdefault(key, []).append(photo)
        return found

    def named(self, file: str) -> SentPhoto:
        """The photo that a tool calls by this name, with or without folders and extension.

        Raises:
            SourceFileError: none of the export, or several.
        """
        found: list[SentPhoto] = []
        for kind, key in enumerate(_keys(file)):
            found = self._by_key.get((kind, key), [])
            if len(found) == 1:
                return found[0]
        raise SourceFileError(
            f"the file has the photo {shortened(file)}, which is "
            f"{'none' if not found else 'several'} of the {len(self.photos)} of this export; name "
            f"the export that it comes from"
        )


def labels_checksum(labels: np.ndarray[Any, Any]) -> int:
    """CRC-32 of class indices, whatever their dtype is."""
    return zlib.crc32(np.ascontiguousarray(labels, dtype="<i4").data)


def _keys(file: str) -> tuple[str, str, str]:
    """A file's name whole, without its extension, and without its folders too."""
    path = PurePosixPath(file.replace("\\", "/"))
    stem = path.stem if path.name else ""
    return str(path), str(path.parent / stem), stem
