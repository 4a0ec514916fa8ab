"""A folder of pseudo-labels: the settings it was made with, and which labels are done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from conformal_plugin._atomic import atomic_write_text, sweep
from conformal_plugin._json import parsed
from conformal_plugin._messages import shortened
from conformal_plugin.cli._label_style import LabelStyle
from conformal_plugin.errors import OptionError, SourceFileError
from conformal_plugin.files import FileState, IdFolder, read_made_label, write_label

__all__ = ["MANIFEST", "DoneLabel", "LabelFolder"]

MANIFEST = "labels.json"
_FORMAT = "conformal-plugin labels"
_VERSION = 1
_LABELLED = "labelled_pixels_per_class"


@dataclass(frozen=True)
class DoneLabel:
    """A label that an earlier run has written.

    Attributes:
        values: ``(H, W)``.
        num_classes: of the scores that it was made from; None in files of earlier releases.
        checksum: of what was read for it; None likewise.
    """

    values: np.ndarray[Any, Any]
    num_classes: int | None
    checksum: int | None


class LabelFolder:
    """Label PNGs of one set of settings, each marked with these and with the map it comes from.

    Args:
        folder: where they lie.
        settings: what they depend on besides the maps; plain JSON values.
        style: how they are written, which is among the settings.
        labelled: of each class, the labelled pixels that were calibrated on, which the labels do
            not depend on but a run is compared with; None where there are none.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        style: LabelStyle,
        *,
        labelled: Sequence[int] | None = None,
    ) -> None:
        self.folder = folder
        self._style = style
        self._files = IdFolder(folder, ".png", "label folder")
        self._manifest = {"format": _FORMAT, "version": _VERSION, **settings, **style.settings()}
        self._beside = {} if labelled is None else {_LABELLED: list(labelled)}

    def path(self, name: str) -> Path:
        """The label file of an id.

        Raises:
            SourceFileError: an id that leaves the folder, by its name or through a link.
        """
        return self._files.path(name)

    def begin(self, ids: Sequence[str], *, overwrite: bool) -> None:
        """Write the manifest, unless the folder holds what must not be lost.

        Raises:
            OptionError: labels of other settings, or of these ids without a manifest, are there
                and ``overwrite`` is False.
        """
        folders = [self.folder, *(self.path(name).parent for name in ids if "/" in name)]
        sweep(folders, lambda name: name.endswith((".png", ".json", ".txt")))
        manifest = self.folder / MANIFEST
        if not overwrite:
            if manifest.exists():
                self._require_same(manifest)
            else:
                self._require_free(ids)
        content = {**self._manifest, **self._beside}
        atomic_write_text(manifest, json.dumps(content, indent=2) + "\n")

    def existing(self, name: str, sources: Sequence[Path]) -> DoneLabel | None:
        """The label of an id, where a whole one made with these settings from these files is there.

        Args:
            name: the id.
            sources: the files that it would be made from.
        """
        path = self.path(name)
        if not path.exists():
            return None
        try:
            made = read_made_label(path)
        except SourceFileError:  # half a file, or a damaged one, is made again
            return None
        if made.origin != self._origin(sources, [FileState.of(source) for source in sources]):
            return None
        return DoneLabel(self._style.read(made.values), **_record(made.read))

    def write(
        self,
        name: str,
        labels: Any,
        sources: Sequence[Path],
        states: Sequence[FileState],
        *,
        num_classes: int,
        checksum: int,
    ) -> None:
        """Write the label of an id.

        Args:
            name: the id.
            labels: ``(H, W)``.
            sources: the files that it was made from.
            states: the states that these were in when they were read.
            num_classes: of the scores that it was made from.
            checksum: of what was read.
        """
        record = json.dumps({"num_classes": num_classes, "checksum": checksum})
        style = self._style
        write_label(
            self.path(name),
            style.written(labels),
            origin=self._origin(sources, states),
            read=record,
            palette=style.palette,
            grey=style.grey,
        )

    def _origin(self, sources: Sequence[Path], states: Sequence[FileState]) -> str:
        made_from: list[Any] = [self._manifest]
        for source, state in zip(sources, states):
            made_from += [source.name, state.size, state.modified]
        return hashlib.sha256(json.dumps(made_from).encode()).hexdigest()

    def _require_same(self, manifest: Path) -> None:
        remedy = "pass --overwrite to replace them, or another folder"
        try:
            theirs = parsed(manifest.read_text(encoding="utf-8"))
        except ValueError:
            theirs = None
        if not isinstance(theirs, dict) or theirs.get("format") != _FORMAT:
            raise OptionError(f"{manifest} is there and not of this command; {remedy}")
        ours = self._manifest
        different = [
            f"{name} was {shortened(theirs.get(name))} and is {shortened(ours.get(name))}"
            for name in sorted((theirs.keys() | ours.keys()) - {_LABELLED})
            if theirs.get(name) != ours.get(name)
        ]
        if different:
            raise OptionError(
                f"{self.folder} holds labels made with other settings "
                f"({shortened('; '.join(different))}); {remedy}"
            )

    def _require_free(self, ids: Sequence[str]) -> None:
        taken = [name for name in ids if self.path(name).exists()]
        if taken:
            raise OptionError(
                f"{self.folder} holds {len(taken)} PNGs of these ids that this command did not "
                f"make, {taken[0]}.png first: true labels perhaps; choose another folder, or pass "
                f"--overwrite to replace them"
            )


def _record(text: str) -> dict[str, int | None]:
    """What :meth:`LabelFolder.write` noted of its reading; earlier releases noted nothing."""
    found = json.loads(text) if text else {}
    return {name: found.get(name) for name in ("num_classes", "checksum")}
