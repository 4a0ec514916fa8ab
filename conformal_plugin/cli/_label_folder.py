"""A folder of pseudo-labels: the settings it was made with, and which labels are done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conformal_plugin._atomic import atomic_write_text
from conformal_plugin.errors import OptionError, SourceFileError
from conformal_plugin.files import read_label, read_origin, write_label

__all__ = ["MANIFEST", "LabelFolder"]

MANIFEST = "labels.json"
_FORMAT = "conformal-plugin labels"
_VERSION = 1


class LabelFolder:
    """Label PNGs of one set of settings, each marked with these and with the map it comes from.

    Args:
        folder: where they lie.
        settings: what they depend on besides the maps; plain JSON values.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self._manifest = {"format": _FORMAT, "version": _VERSION, **settings}

    def path(self, name: str) -> Path:
        """The label file of an id."""
        return self.folder / f"{name}.png"

    def begin(self, ids: Sequence[str], *, overwrite: bool) -> None:
        """Write the manifest, unless the folder holds what must not be lost.

        Raises:
            OptionError: labels of other settings, or of these ids without a manifest, are there
                and ``overwrite`` is False.
        """
        manifest = self.folder / MANIFEST
        if not overwrite:
            if manifest.exists():
                self._require_same(manifest)
            else:
                self._require_free(ids)
        atomic_write_text(manifest, json.dumps(self._manifest, indent=2) + "\n")

    def existing(self, name: str, source: Path) -> np.ndarray[Any, Any] | None:
        """The label of an id, where a whole one made with these settings from this map is there."""
        path = self.path(name)
        if not path.exists():
            return None
        try:
            if read_origin(path) != self._origin(source):
                return None
            return read_label(path)
        except SourceFileError:  # half a file is made again
            return None

    def write(self, name: str, labels: Any, source: Path) -> None:
        """Write the label of an id."""
        write_label(self.path(name), labels, origin=self._origin(source))

    def _origin(self, source: Path) -> str:
        status = source.stat()
        made_from = [self._manifest, source.name, status.st_size, status.st_mtime_ns]
        return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()

    def _require_same(self, manifest: Path) -> None:
        remedy = "pass --overwrite to replace them, or another folder"
        try:
            theirs = json.loads(manifest.read_text(encoding="utf-8"))
        except ValueError:
            theirs = None
        if not isinstance(theirs, dict) or theirs.get("format") != _FORMAT:
            raise OptionError(f"{manifest} is there and not of this command; {remedy}")
        ours = self._manifest
        different = [
            f"{name} was {theirs.get(name)} and is {ours.get(name)}"
            for name in sorted(theirs.keys() | ours.keys())
            if theirs.get(name) != ours.get(name)
        ]
        if different:
            raise OptionError(
                f"{self.folder} holds labels made with other settings ({'; '.join(different)}); "
                f"{remedy}"
            )

    def _require_free(self, ids: Sequence[str]) -> None:
        taken = [name for name in ids if self.path(name).exists()]
        if taken:
            raise OptionError(
                f"{self.folder} holds {len(taken)} PNGs of these ids that this command did not "
                f"make, {taken[0]}.png first: true labels perhaps; choose another folder, or pass "
                f"--overwrite to replace them"
            )
