"""What a shared folder holds, with a digest of each file: nothing is used that does not fit."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from conformal_plugin._atomic import atomic_write_text
from conformal_plugin._json import parsed
from conformal_plugin._messages import shortened, shown
from conformal_plugin._sealed import refuse_changed, sealed
from conformal_plugin.errors import SourceFileError

__all__ = ["CALIBRATION", "CARD", "CONTENTS", "LABELS", "Contents", "digest_of"]

CONTENTS: Final = "conformal-plugin.json"
"""The file that says what there is."""
CALIBRATION: Final = "calibration.json"
CARD: Final = "README.md"
LABELS: Final = "labels"

_FORMAT: Final = "conformal-plugin shared calibration"
_VERSION: Final = 1
_FIELDS: Final = ("format", "version", "license", "class_names", "annotator", "versions", "files")
_REMEDY: Final = "fetch it again, or ask whoever shared it to write it again"


@dataclass(frozen=True)
class Contents:
    """What is known of a shared folder beside what its files say.

    Attributes:
        license: as its owner stated it; None where nothing was stated.
        class_names: by class index; None where nobody gave them.
        annotator: the fingerprint of the maps' annotator; None where it is not known.
        versions: of the packages that wrote the folder, by their names.
        files: SHA-256 of each file, by its path in the folder.
    """

    license: str | None
    class_names: tuple[str, ...] | None
    annotator: Mapping[str, Any] | None
    versions: Mapping[str, str]
    files: Mapping[str, str]

    def write(self, folder: Path) -> None:
        """Write them into the folder."""
        names = None if self.class_names is None else list(self.class_names)
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "license": self.license,
            "class_names": names,
            "annotator": self.annotator,
            "versions": dict(self.versions),
            "files": dict(self.files),
        }
        atomic_write_text(folder / CONTENTS, sealed(content))

    @classmethod
    def read(cls, folder: Path) -> Contents:
        """Those of a folder.

        Raises:
            SourceFileError: there are none, or they are damaged or of a later release.
        """
        path = folder / CONTENTS
        try:
            content = parsed(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict) or content.get("format") != _FORMAT:
                raise ValueError("it is not of this program")
            if content.get("version") != _VERSION:
                raise ValueError(
                    f"it has version {shown(content.get('version'))} and this release reads "
                    f"{_VERSION}"
                )
            refuse_changed(content, _FIELDS, "fetch the folder again")
            found = cls(
                license=_text_or_none(content["license"]),
                class_names=_names(content["class_names"]),
                annotator=_mapping_or_none(content["annotator"]),
                versions=_texts(content["versions"]),
                files=_texts(content["files"]),
            )
            for name in found.files:
                _require_inside(name)
            if CALIBRATION not in found.files:
                raise ValueError(f"it names no {CALIBRATION}")
        except (OSError, ValueError, KeyError) as error:
            raise SourceFileError(
                f"cannot read {path} ({shortened(error)}); name a folder that `conformal-plugin "
                f"card` wrote, or {_REMEDY}"
            ) from error
        return found

    def verify(self, folder: Path) -> None:
        """Hold every file to its digest, so that no other one is taken for a label.

        Raises:
            SourceFileError: one is missing, one too many, or another than when the folder was
                written.
        """
        beside = [
            name for name in _visible(folder / LABELS) if f"{LABELS}/{name}" not in self.files
        ]
        if beside:
            raise SourceFileError(
                f"{folder / LABELS} holds {len(beside)} files, {beside[0]} among them, that were "
                f"not shared with the calibration; take them away, or {_REMEDY}"
            )
        for name, digest in self.files.items():
            try:
                found = digest_of((folder / name).read_bytes())
            except OSError as error:
                raise SourceFileError(
                    f"{folder} lacks {name}, which {CONTENTS} names "
                    f"({error.strerror or error}); {_REMEDY}"
                ) from error
            if found != digest:
                raise SourceFileError(
                    f"{folder / name} is not the file that was shared: its SHA-256 begins with "
                    f"{found[:12]} and {CONTENTS} says {digest[:12]}; {_REMEDY}"
                )


def digest_of(content: bytes) -> str:
    """SHA-256, in hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def _visible(folder: Path) -> list[str]:
    paths = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if not path.is_dir())
    return [p.as_posix() for p in paths if not any(part.startswith(".") for part in p.parts)]


def _require_inside(name: str) -> None:
    """Nothing but the calibration and labels is read, and nothing outside the folder."""
    path = PurePosixPath(name)
    inside = ".." not in path.parts and "\\" not in name and str(path) == name
    if not inside or (name != CALIBRATION and path.parts[:1] != (LABELS,)):
        raise ValueError(f"it names the file {shown(name)}, which is no place for labels")


def _text_or_none(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"a text was expected, got {shown(value)}")
    return value


def _names(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"class_names must be a list of texts, got {shown(value)}")
    return tuple(value)


def _mapping_or_none(value: Any) -> Mapping[str, Any] | None:
    if value is not None and not isinstance(value, dict):
        raise ValueError(f"an object was expected, got {shown(value)}")
    return value


def _texts(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict) or not all(isinstance(text, str) for text in value.values()):
        raise ValueError(f"an object of texts was expected, got {shown(value)}")
    return value
