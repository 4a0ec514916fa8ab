"""A folder of score maps that one annotator made: compact, one file per photo, no half files."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from conformal_plugin._atomic import atomic_open, atomic_write_text
from conformal_plugin._json import parsed
from conformal_plugin._messages import shortened, shown
from conformal_plugin.errors import OptionError, SourceFileError
from conformal_plugin.files._ids import IdFolder, ids_in_folder
from conformal_plugin.files._maps import MAP_SUFFIXES
from conformal_plugin.files._store_codec import (
    DEFAULT_PRECISION,
    DIGEST_BYTES,
    MOST_HEADER_BYTES,
    check_precision,
    decode,
    encoded,
    read_header,
)
from conformal_plugin.scores import ScoreParts

__all__ = ["STORE_MANIFEST", "STORE_SUFFIX", "MapStore", "StoreEntry", "annotator_digest"]

STORE_SUFFIX = ".cpmap"
"""How the names of a store's maps end."""
STORE_MANIFEST = "store.json"
"""The file of a store that says who made its maps."""
_FORMAT = "conformal-plugin maps"
_VERSION = 1


@dataclass(frozen=True)
class StoreEntry:
    """What a map of a store says of itself.

    Attributes:
        shape: ``(K, H, W)`` or ``(K, D, H, W)``.
        source: what it was made from, as its writer said; empty where it did not.
    """

    shape: tuple[int, ...]
    source: bytes


class MapStore:
    """Score maps ``ID.cpmap`` beside ``store.json``, which says who made them and how finely.

    Each file is read without the others, and written under another name first: a killed writer
    leaves no half map. Writers need not know of each other as long as they write different ids.
    :func:`conformal_plugin.files.read_map` and the command line read the files as any other map.

    Args:
        folder: where the maps lie; made when missing.
        annotator: what the scores depend on (model, weights, prompts, background rule): plain JSON
            values. A folder with maps of another annotator is refused.
        class_names: the K classes, in the order of the channels.
        precision: in bits, see :func:`conformal_plugin.files.rounded`.

    Raises:
        OptionError: the folder holds maps of another annotator, class list, precision or kind.
        SourceFileError: its ``store.json`` is damaged or of a later version.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> scores = np.array([[[0.25, 1.0]], [[0.75, 0.0]]], dtype=np.float16)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = MapStore(folder, annotator={"model": "mine"}, class_names=("cat", "dog"))
        ...     store.write("pets/0001", scores)
        ...     store.ids(), store.read("pets/0001")[1].tolist()
        (('pets/0001',), [[0.75, 0.0]])
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        annotator: Mapping[str, Any],
        class_names: Sequence[str],
        precision: int = DEFAULT_PRECISION,
    ) -> None:
        check_precision(precision)
        self.folder = Path(folder)
        self._files = IdFolder(self.folder, STORE_SUFFIX, "store")
        self.annotator = dict(annotator)
        self.class_names = tuple(class_names)
        self.precision = precision
        self.digest = annotator_digest(self.annotator, self.class_names)
        self._begin()

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> MapStore:
        """The store that a folder holds.

        Raises:
            SourceFileError: the folder has no ``store.json``, or one that cannot be read.
        """
        content = _manifest(Path(folder) / STORE_MANIFEST)
        return cls(
            folder,
            annotator=content["annotator"],
            class_names=content["class_names"],
            precision=content["precision"],
        )

    def path(self, name: str) -> Path:
        """The file of an id.

        Raises:
            SourceFileError: an id that leaves the folder, by its name or through a link.
        """
        return self._files.path(name)

    def ids(self) -> tuple[str, ...]:
        """The ids that have a map, sorted.

        Raises:
            SourceFileError: there is none.
        """
        return ids_in_folder(self.folder, (STORE_SUFFIX,), "map").ids

    def holds(self, name: str) -> bool:
        """Whether a map of an id is there, whole by its length and of this annotator.

        Raises:
            OptionError: the map there is of another annotator or precision.
        """
        return self.entry(name) is not None

    def entry(self, name: str) -> StoreEntry | None:
        """What the map of an id says of itself; None where there is no whole one.

        Raises:
            OptionError: the map there is of another annotator or precision.
        """
        path = self.path(name)
        try:
            with path.open("rb") as handle:
                header = read_header(handle.read(MOST_HEADER_BYTES), str(path))
                if os.fstat(handle.fileno()).st_size != header.length:
                    return None
                handle.seek(header.length - header.source_bytes)
                entry = StoreEntry(header.shape, handle.read())
        except FileNotFoundError:
            return None
        except SourceFileError:  # what is damaged is made again
            return None
        if (header.digest, header.precision) != (self.digest, self.precision):
            raise OptionError(
                f"{path} was made by another annotator or at another precision than "
                f"{STORE_MANIFEST} beside it says; delete it, or choose another folder"
            )
        return entry

    def write(self, name: str, scores: Any, *, source: bytes = b"") -> None:
        """Write the map of an id, all of it or nothing.

        Args:
            name: the id.
            scores: ``(K, H, W)`` or ``(K, D, H, W)`` in [0, 1], floating-point, NumPy or torch on
                any device, or read part by part: two bytes for each score are in memory then.
            source: what the map is made from, at most 255 bytes, which :meth:`entry` gives back.

        Raises:
            InputTypeError, ShapeError, ScoreError: no such scores.
            SourceFileError: an id that leaves the folder.
        """
        path = self.path(name)
        classes = scores.shape[0] if isinstance(scores, ScoreParts) else len(scores)
        if classes != len(self.class_names):
            raise OptionError(
                f"the map of {name} has {classes} classes and the store {len(self.class_names)}"
                f" ({', '.join(self.class_names[:3])}, ...); write the maps of one annotator"
            )
        content = encoded(scores, self.precision, self.digest, source)
        with atomic_open(path) as handle:
            handle.writelines(content)

    def read(self, name: str) -> npt.NDArray[np.float16]:
        """The scores ``(K, H, W)`` or ``(K, D, H, W)`` of an id.

        Raises:
            SourceFileError: there is no map, or it is damaged.
        """
        path = self.path(name)
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SourceFileError(
                f"cannot read the map {path} ({error.strerror or error}); check the id"
            ) from error
        return decode(content, str(path))[0]

    def _begin(self) -> None:
        """Write ``store.json``, or compare with the one that is there."""
        # Looked at in this order, another rank's first map cannot be mistaken for a foreign one.
        occupied = self.folder.is_dir() and any(
            path.suffix in MAP_SUFFIXES for path in self.folder.iterdir()
        )
        manifest = self.folder / STORE_MANIFEST
        ours = {
            "format": _FORMAT,
            "version": _VERSION,
            "precision": self.precision,
            "class_names": list(self.class_names),
            "annotator": self.annotator,
        }
        if manifest.exists():
            self._require_same(_manifest(manifest), ours)
        elif occupied:
            raise OptionError(
                f"{self.folder} holds maps but no {STORE_MANIFEST}, so nobody knows whose they "
                f"are; choose another folder"
            )
        else:
            atomic_write_text(manifest, json.dumps(ours, indent=2, ensure_ascii=False) + "\n")

    def _require_same(self, theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
        different = _differences(theirs, json.loads(json.dumps(ours)))
        if different:
            raise OptionError(
                f"{self.folder} holds maps of another annotator or precision "
                f"({'; '.join(different)}); choose another folder, or run with what it was made "
                f"with"
            )


def annotator_digest(annotator: Mapping[str, Any], class_names: Sequence[str]) -> bytes:
    """What the maps of an annotator carry.

    Args:
        annotator: what its scores depend on, as in :class:`MapStore`.
        class_names: the classes, in the order of the channels.
    """
    made_by = {"annotator": dict(annotator), "class_names": tuple(class_names)}
    text = json.dumps(made_by, sort_keys=True)
    return hashlib.sha256(text.encode()).digest()[:DIGEST_BYTES]


def _manifest(path: Path) -> dict[str, Any]:
    remedy = "restore it, or make the maps again in another folder"
    try:
        content = parsed(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceFileError(
            f"cannot read {path}, which says who made the maps ({shortened(error)}); {remedy}"
        ) from error
    expected = {"precision": int, "class_names": list, "annotator": dict}
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise SourceFileError(f"{path} is not the description of a map store; {remedy}")
    if content.get("version") != _VERSION:
        raise SourceFileError(
            f"{path} has version {shown(content.get('version'))} and this release reads "
            f"{_VERSION}; install a newer conformal-plugin"
        )
    if not all(isinstance(content.get(name), kind) for name, kind in expected.items()):
        raise SourceFileError(f"{path} lacks some of {', '.join(expected)}; {remedy}")
    return content


def _differences(theirs: Any, ours: Any, name: str = "") -> list[str]:
    """``NAME was X and is Y`` for all that differs."""
    if isinstance(theirs, Mapping) and isinstance(ours, Mapping):
        return [
            line
            for key in sorted(theirs.keys() | ours.keys())
            for line in _differences(theirs.get(key), ours.get(key), f"{name}.{key}".lstrip("."))
        ]
    return [] if theirs == ours else [f"{name} was {_short(theirs)} and is {_short(ours)}"]


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
