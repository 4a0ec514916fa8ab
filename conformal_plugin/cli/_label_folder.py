"""A folder of pseudo-labels: the settings it was made with, and which labels are done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conformal_plugin._atomic import atomic_write_text, sweep
from conformal_plugin._json import parsed
from conformal_plugin._messages import shortened
from conformal_plugin.cli._done_record import RECORD, DoneLabel, DoneRecord, FileTimes
from conformal_plugin.cli._label_style import LabelStyle
from conformal_plugin.cli._label_summary import label_counts
from conformal_plugin.errors import OptionError, SourceFileError
from conformal_plugin.files import FileState, IdFolder, nifti_of, read_made_label, write_label

__all__ = ["MANIFEST", "LabelFolder", "made_with"]

MANIFEST = "labels.json"
_FORMAT = "conformal-plugin labels"
_VERSION = 1
_LABELLED = "labelled_pixels_per_class"
_REMARKS = "remarks"


class LabelFolder:
    """Label PNGs of one set of settings, each marked with these and with the map it comes from.

    Args:
        folder: where they lie.
        settings: what they depend on besides the maps; plain JSON values.
        style: how they are written, which is among the settings.
        labelled: of each class, the labelled pixels that were calibrated on, which the labels do
            not depend on but a run is compared with; None where there are none.
        suffix: how their names end.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        style: LabelStyle,
        *,
        labelled: Sequence[int] | None = None,
        suffix: str = ".png",
    ) -> None:
        self.folder = folder
        self._style = style
        self._suffix = suffix
        self._files = IdFolder(folder, suffix, "label folder")
        self._manifest = {"format": _FORMAT, "version": _VERSION, **settings, **style.settings()}
        # What an origin is the checksum of begins with the settings, which no label is without.
        self._origin_begun = hashlib.sha256(f"[{json.dumps(self._manifest)}".encode())
        self._record = DoneRecord(folder)
        self._beside: dict[str, Any] = {} if labelled is None else {_LABELLED: list(labelled)}

    def path(self, name: str) -> Path:
        """The label file of an id.

        Raises:
            SourceFileError: an id that leaves the folder, by its name or through a link.
        """
        return self._files.path(name)

    def clear_away(self, ids: Sequence[str]) -> None:
        """Delete what killed runs left half written, by one process of a run."""
        folders = [self.folder, *(self.path(name).parent for name in ids if "/" in name)]
        sweep(folders, lambda name: name.endswith((self._suffix, ".json", ".txt", ".tsv", RECORD)))
        self._record.tidy()

    def begin(self, ids: Sequence[str], *, overwrite: bool) -> None:
        """Write the manifest, unless the folder holds what must not be lost.

        Raises:
            OptionError: labels of other settings, or of these ids without a manifest, are there
                and ``overwrite`` is False.
        """
        manifest = self.folder / MANIFEST
        if not overwrite:
            if manifest.exists():
                theirs = self._require_same(manifest)
                self._beside |= {_REMARKS: theirs[_REMARKS]} if _REMARKS in theirs else {}
            else:
                self._require_free(ids)
        self._write_manifest()

    @property
    def remarked(self) -> bool:
        """Whether a run has come to its end and noted its remarks, of which there may be none."""
        return _REMARKS in self._beside

    def remark(self, remarks: Sequence[str]) -> None:
        """Note what was warned of, which a training on these labels says once more."""
        self._beside[_REMARKS] = list(remarks)
        self._write_manifest()

    def _write_manifest(self) -> None:
        content = {**self._manifest, **self._beside}
        atomic_write_text(self.folder / MANIFEST, json.dumps(content, indent=2) + "\n")

    def existing(
        self, name: str, sources: Sequence[Path], *, reading: bool = False
    ) -> DoneLabel | None:
        """The label of an id, where a whole one made with these settings from these files is there.

        It is read where its file is not the one that was noted when it was written or last read.

        Args:
            name: the id.
            sources: the files that it would be made from.
            reading: read it in any case.
        """
        path = self.path(name)
        times = FileTimes.of(path)
        if times is None:
            return None
        origin = self._origin(sources, [FileState.of(source) for source in sources])
        if not reading and (known := self._record.find(name, times, origin)) is not None:
            return known
        try:
            made = read_made_label(path)
        except SourceFileError:  # half a file, or a damaged one, is made again
            return None
        if made.origin != origin:
            return None
        done = DoneLabel(label_counts(self._style.read(made.values)), **_noted(made.read))
        self._record.add(name, times, origin, done)
        return done

    def read(self, name: str) -> Any:
        """The label of an id, as :meth:`write` was given it.

        Raises:
            SourceFileError: there is none, or it is damaged.
        """
        return self._style.read(read_made_label(self.path(name)).values)

    def write(
        self,
        name: str,
        labels: Any,
        sources: Sequence[Path],
        states: Sequence[FileState],
        *,
        num_classes: int,
        checksum: int,
    ) -> DoneLabel:
        """Write the label of an id; gives what :meth:`existing` will say of it.

        Args:
            name: the id.
            labels: ``(H, W)`` or ``(D, H, W)``.
            sources: the files that it was made from, the map first.
            states: the states that these were in when they were read.
            num_classes: of the scores that it was made from.
            checksum: of what was read.
        """
        noted = json.dumps({"num_classes": num_classes, "checksum": checksum})
        path, origin, style = self.path(name), self._origin(sources, states), self._style
        write_label(
            path,
            style.written(labels),
            origin=origin,
            read=noted,
            palette=style.palette,
            grey=style.grey,
            like=nifti_of(sources),
        )
        done = DoneLabel(label_counts(labels), num_classes, checksum)
        self._record.add(name, FileTimes.of(path), origin, done)
        return done

    def _origin(self, sources: Sequence[Path], states: Sequence[FileState]) -> str:
        """The checksum of the JSON list of the settings and, of each source, name and state."""
        made_from: list[Any] = []
        for source, state in zip(sources, states):
            made_from += [source.name, state.size, state.modified]
        origin = self._origin_begun.copy()
        origin.update(f", {json.dumps(made_from)[1:]}".encode())
        return origin.hexdigest()

    def _require_same(self, manifest: Path) -> Mapping[str, Any]:
        """The manifest that is there, of the same settings."""
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
            for name in sorted((theirs.keys() | ours.keys()) - {_LABELLED, _REMARKS})
            if theirs.get(name) != ours.get(name)
        ]
        if different:
            raise OptionError(
                f"{self.folder} holds labels made with other settings "
                f"({shortened('; '.join(different))}); {remedy}"
            )
        return theirs

    def _require_free(self, ids: Sequence[str]) -> None:
        taken = [name for name in ids if self.path(name).exists()]
        if taken:
            raise OptionError(
                f"{self.folder} holds {len(taken)} labels of these ids that this command did "
                f"not make, {taken[0]}{self._suffix} first: true labels perhaps; choose another "
                f"folder, or pass --overwrite to replace them"
            )


def made_with(folder: Path) -> dict[str, Any]:
    """The manifest of a folder of labels; empty where `filter` wrote none."""
    try:
        found = parsed((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and found.get("format") == _FORMAT else {}


def _noted(text: str) -> dict[str, int | None]:
    """What :meth:`LabelFolder.write` noted of its reading; earlier releases noted nothing."""
    found = json.loads(text) if text else {}
    return {name: found.get(name) for name in ("num_classes", "checksum")}
