"""The half-done calibration on disk, so that a killed run goes on where it stopped."""

from __future__ import annotations

import hashlib
import json
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from conformal_plugin._atomic import atomic_open
from conformal_plugin.errors import CalibrationFileError, OptionError

__all__ = ["Checkpoint", "Resumable", "fingerprint"]

_Resumable = TypeVar("_Resumable", bound="Resumable")

EVERY_IMAGES = 200
EVERY_SECONDS = 30.0


class Resumable(Protocol):
    """What all calibrators can: give their counts as plain arrays, and go on from them."""

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """The counts."""

    @classmethod
    def from_state(cls: type[_Resumable], state: Mapping[str, Any]) -> _Resumable:
        """A calibrator with these counts."""


def fingerprint(names: Sequence[str], *columns: Sequence[Path]) -> str:
    """A digest of ids and of the size and modification time of their files."""
    digest = hashlib.sha256()
    for name, *paths in zip(names, *columns):
        stats = [path.stat() for path in paths]
        line = [name, *([status.st_size, status.st_mtime_ns] for status in stats)]
        digest.update(json.dumps(line).encode())
    return digest.hexdigest()


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
        self._settings = dict(settings)
        self._ids = ids
        self._maps = maps
        self._labels = labels
        self._saved = (0, time.monotonic())

    def load(self, kind: type[_Resumable]) -> tuple[_Resumable, int] | None:
        """The counts so far and the number of images in them; None where there is no file.

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
            with np.load(self.path, allow_pickle=False) as content:
                state = {name: content[name] for name in content.files}
            self._require_same_settings(json.loads(str(state.pop("settings"))), remedy)
            done = int(state.pop("done"))
            files = str(state.pop("files"))
            calibrator = kind.from_state(state)
        except OptionError:
            raise
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise CalibrationFileError(
                f"cannot go on from {self.path} ({error}); delete it to start anew"
            ) from error
        if files != self._fingerprint(done):
            raise OptionError(
                f"an unfinished calibration lies in {self.path}, and the {done} images counted in "
                f"it are not the first {done} here, or their files have changed; {remedy}"
            )
        self._saved = (done, time.monotonic())
        return calibrator, done

    def save(self, calibrator: Resumable, done: int) -> None:
        """Write the counts of the first ``done`` images."""
        content: dict[str, Any] = {
            "settings": np.array(json.dumps(self._settings)),
            "done": np.array(done),
            "files": np.array(self._fingerprint(done)),
            **calibrator.state(),
        }
        with atomic_open(self.path) as handle:
            np.savez(handle, **content)
        self._saved = (done, time.monotonic())

    def save_when_due(self, calibrator: Resumable, done: int) -> None:
        """:meth:`save` where enough images or seconds have gone by since the last time."""
        images, moment = self._saved
        if done - images >= EVERY_IMAGES or time.monotonic() - moment >= EVERY_SECONDS:
            self.save(calibrator, done)

    def remove(self) -> None:
        """Delete the file; the calibration is finished."""
        self.path.unlink(missing_ok=True)

    def _require_same_settings(self, settings: Mapping[str, Any], remedy: str) -> None:
        if settings == self._settings:
            return
        different = ", ".join(
            f"{name} was {settings.get(name)!r} and is {self._settings.get(name)!r}"
            for name in sorted(settings.keys() | self._settings.keys())
            if settings.get(name) != self._settings.get(name)
        )
        raise OptionError(
            f"an unfinished calibration lies in {self.path}, made with other settings "
            f"({different}); {remedy}"
        )

    def _fingerprint(self, done: int) -> str:
        return fingerprint(self._ids[:done], self._maps[:done], self._labels[:done])
