"""The half-done calibration on disk, so that a killed run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, Protocol, TypeVar

import numpy as np

from conformal_plugin._atomic import atomic_open
from conformal_plugin._messages import shortened, shown
from conformal_plugin.cli._read_digest import ReadDigest
from conformal_plugin.errors import CalibrationFileError, OptionError
from conformal_plugin.files import FileState, Taken

__all__ = ["Checkpoint", "Resumable"]

_Resumable = TypeVar("_Resumable", bound="Resumable")

EVERY_IMAGES = 200
EVERY_SECONDS = 30.0
_LARGEST = 2**30
"""Bytes of counts; the most that were seen, of 150 classes in float32, are a hundredth of that."""


class Resumable(Protocol):
    """What all calibrators can: give their counts as plain arrays, and go on from them."""

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """The counts."""

    @classmethod
    def from_state(cls: type[_Resumable], state: Mapping[str, Any]) -> _Resumable:
        """A calibrator with these counts."""


class Checkpoint:
    """A calibrator's counts, how many images they come from, and the settings they depend on.

    Alpha is none of these settings: the counts serve any.

    Args:
        path: the file.
        settings: what must be the same for a run to go on from it; plain JSON values.
        ids: all ids in the order in which they are counted.
        maps: their maps.
        labels: their labels.
    """

    def __init__(
        self,
        path: Path,
        settings: Mapping[str, Any],
        ids: Sequence[str],
        maps: Sequence[Path],
        labels: Sequence[Path],
    ) -> None:
        self.path = path
        self.read = ReadDigest()
        """What was read so far."""
        self.states: list[tuple[FileState, FileState]] = []
        """Of each image counted, the states that its map and its label were in."""
        self.refused = False
        """Whether the run ends because an image cannot be used as it is."""
        self._settings = dict(settings)
        self._ids = ids
        self._files = list(zip(maps, labels))
        self._fingerprint = hashlib.sha256()
        self._saved = (0, time.monotonic())

    def load(self, kind: type[_Resumable]) -> tuple[_Resumable, int] | None:
        """The counts so far and the number of images in them; None where there are none.

        A run that was refused is mended, by other settings or files, and then begun anew.

        Args:
            kind: the class of the calibrator that was saved.

        Raises:
            CalibrationFileError: damaged, or of another version.
            OptionError: made with other settings or from other files.
        """
        if not self.path.exists():
            return None
        remedy = f"run with what it was made with, or delete {self.path} to start anew"
        try:
            state = _arrays(self.path)
            settings = json.loads(str(state.pop("settings")))
            done = int(state.pop("done"))
            files = str(state.pop("files"))
            read = ReadDigest.of_text(str(state.pop("read")))
            refused = bool(state.pop("refused", False))
            same = settings == self._settings
            calibrator = kind.from_state(state) if same else None
        except Exception as error:  # bytes can go wrong in any way
            raise CalibrationFileError(
                f"cannot go on from {self.path} ({shortened(error)}); delete it to start anew"
            ) from error
        if calibrator is None:
            if refused:
                return None
            self._refuse_settings(settings, remedy)
        if not 0 <= done <= len(self._ids) or files != self._fingerprint_of_first(done):
            if refused:
                self._fingerprint, self.states = hashlib.sha256(), []
                return None
            raise OptionError(
                f"an unfinished calibration lies in {self.path}, and the {done} images counted in "
                f"it are not the first {done} here, or their files have changed; {remedy}"
            )
        self.read = read
        self._saved = (done, time.monotonic())
        return calibrator, done

    def add(self, label: Taken[Any], scores: Taken[Any], *checksums: int) -> None:
        """Take note of the next image, which has been counted.

        Args:
            label: what was read of its label.
            scores: what was read of its map.
            *checksums: of both.
        """
        name = self._ids[len(self.states)]
        self.read.add(name, *checksums)
        self._note(name, scores.states[0], label.states[0])

    def save(self, calibrator: Resumable) -> None:
        """Write the counts of the images that were added."""
        done = len(self.states)
        content: dict[str, Any] = {
            "settings": np.array(json.dumps(self._settings)),
            "done": np.array(done),
            "files": np.array(self._fingerprint.hexdigest()),
            "read": np.array(self.read.to_text()),
            "refused": np.array(self.refused),
            **calibrator.state(),
        }
        with atomic_open(self.path) as handle:
            np.savez(handle, **content)
        self._saved = (done, time.monotonic())

    def save_when_due(self, calibrator: Resumable) -> None:
        """:meth:`save` where enough images or seconds have gone by since the last time."""
        images, moment = self._saved
        due = len(self.states) - images >= EVERY_IMAGES
        if due or time.monotonic() - moment >= EVERY_SECONDS:
            self.save(calibrator)

    def remove(self) -> None:
        """Delete the file; the calibration is finished."""
        self.path.unlink(missing_ok=True)

    def _refuse_settings(self, settings: Any, remedy: str) -> NoReturn:
        theirs = settings if isinstance(settings, dict) else {}
        different = ", ".join(
            f"{name} was {shown(theirs.get(name))} and is {shown(self._settings.get(name))}"
            for name in sorted(theirs.keys() | self._settings.keys())
            if theirs.get(name) != self._settings.get(name)
        )
        raise OptionError(
            f"an unfinished calibration lies in {self.path}, made with other settings "
            f"({different}); {remedy}"
        )

    def _fingerprint_of_first(self, done: int) -> str:
        """Of the first images, as their files are now, which later ones are added to."""
        for name, (scores, label) in zip(self._ids[:done], self._files):
            self._note(name, FileState.of(scores), FileState.of(label))
        return self._fingerprint.hexdigest()

    def _note(self, name: str, *states: FileState) -> None:
        line = [name, *([state.size, state.modified] for state in states)]
        self._fingerprint.update(json.dumps(line).encode())
        self.states.append((states[0], states[1]))


def _arrays(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """What a checkpoint holds, its checksums compared."""
    with zipfile.ZipFile(path) as archive:
        if sum(info.file_size for info in archive.infolist()) > _LARGEST:
            raise ValueError(f"it holds more than {_LARGEST} bytes")
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"the checksum of its part {damaged} does not fit")
    with np.load(path, allow_pickle=False) as content:
        return {name: content[name] for name in content.files}
