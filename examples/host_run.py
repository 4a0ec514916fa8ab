"""One run of a host's own script: its folder, its command, and what its log says of each epoch."""

from __future__ import annotations

import json
import re
import shlex
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from host_process import SECONDS_TO_END, BusyError, alone_in, end_session, ended, send, started

from conformal_plugin._atomic import atomic_write_text
from conformal_plugin.errors import OptionError

__all__ = ["HostRun", "epochs_of"]

TOLD = re.compile(
    r"=+> Epoch: (?P<epoch>\d+)|Mask ratio: (?P<mask_ratio>[\d.]+)"
    r"|>>>> Class \[(?P<one>\d+) [^]]*\] IoU: (?P<iou>[\d.]+|nan)"
    r"|ClassIOU \*+ >+\s*\[(?P<shares>[^]]*)\]"  # CorrMatch's, an array of NumPy's
)
_SECONDS_TO_WAIT, _SECONDS_BETWEEN_LOOKS = 0.1, 5.0


@dataclass(frozen=True)
class HostRun:
    """What a run is; its results lie in ``folder``.

    Attributes:
        folder: of this run: its config, the log, the host's checkpoints, ``result.json``.
        host: the clone, as it is or patched, whose ``splits`` name the test photos.
        script: of the clone.
        config: all that the YAML says.
        lists: labelled and unlabelled photos, as the host reads them.
        seed: put where the command says ``{seed}``.
    """

    folder: Path
    host: Path
    script: str
    config: dict[str, Any]
    lists: tuple[Path, Path]
    seed: int

    @property
    def log(self) -> Path:
        """What the script says, of all its attempts."""
        return self.folder / "log.txt"

    def result(self) -> dict[str, Any] | None:
        """What a finished run has left, None where it is not finished."""
        path = self.folder / "result.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def epochs(self) -> dict[str, dict[str, Any]]:
        """What :func:`epochs_of` finds in the log so far."""
        if not self.log.is_file():
            return {}
        return epochs_of(self.log.read_text(encoding="utf-8", errors="replace"))

    def go(
        self, runner: str, told: Callable[[int, dict[str, Any]], None], stop: threading.Event
    ) -> str:
        """Run the script, or go on from its checkpoint; what went wrong, or nothing.

        Args:
            runner: the command; ``{host}``, ``{script}`` and ``{seed}`` are filled in, the script's
                arguments are put behind it.
            told: called with the number of each epoch that ends, from 0, and what is known of it.
            stop: ends the run when it is set.

        Raises:
            OptionError: the command cannot be started.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with alone_in(self.folder) as handed_on:
                return self._attempt(runner, told, stop, handed_on)
        except BusyError as error:
            return f"{error}: another study, or what one has left behind; wait for it, or end it"

    def _attempt(
        self,
        runner: str,
        told: Callable[[int, dict[str, Any]], None],
        stop: threading.Event,
        handed_on: dict[str, Any],
    ) -> str:
        command = self.command(runner, self.folder)
        spent = _Attempts(self.folder / "attempts.json", earlier=self.log.is_file())
        known, asked = len(self.epochs()), None
        began = looked = time.monotonic()
        with self.log.open("ab") as said:
            process = started(command, cwd=self.host, stdout=said, stderr=said, **handed_on)
            spent.begin()
            try:
                while (seconds := ended(process)) is None:
                    time.sleep(_SECONDS_TO_WAIT)
                    now = time.monotonic()
                    if now - looked >= _SECONDS_BETWEEN_LOOKS:
                        known, looked = _tell(self.epochs(), known, told, whole=False), now
                    if stop.is_set() and asked is None:
                        send(process)
                        asked = now
                    elif asked is not None and now - asked > SECONDS_TO_END:
                        send(process, kill=True)
            except BaseException:
                end_session(process)
                raise
        spent.end(time.monotonic() - began, seconds[0])
        if process.returncode:
            return f"exit {process.returncode}, see {self.log}"
        epochs = self.epochs()
        if not epochs:
            return f"exit 0, and no epoch with the IoU of its classes in {self.log}"
        _tell(epochs, known, told, whole=True)
        found = {"epochs": epochs, **spent.totals()}
        atomic_write_text(self.folder / "result.json", json.dumps(found, indent=1))
        return ""

    def command(self, runner: str, folder: Path) -> list[str]:
        """The script with all its arguments, and its config written.

        Args:
            runner: as for :meth:`go`.
            folder: takes ``config.yaml`` and ``saved/``.

        Raises:
            OptionError: the runner names what is not known.
        """
        config = folder / "config.yaml"
        atomic_write_text(config, yaml.safe_dump(self.config, sort_keys=False))
        (folder / "saved").mkdir(exist_ok=True)
        values = {"host": self.host, "script": self.script, "seed": self.seed}
        try:
            command = [part.format(**values) for part in shlex.split(runner)]
        except (KeyError, IndexError, ValueError) as error:
            raise OptionError(
                f"--runner {runner!r} cannot be filled in ({type(error).__name__}: {error}); it "
                f"may have {{host}}, {{script}} and {{seed}}"
            ) from error
        command += ["--config", str(config), "--save-path", str(folder / "saved")]
        labelled, unlabelled = map(str, self.lists)
        return [*command, "--labeled-id-path", labelled, "--unlabeled-id-path", unlabelled]


class _Attempts:
    """What each start of a run took; one that was killed has not said so.

    Args:
        path: a JSON list, ``[wall seconds, processor seconds]`` or null an attempt.
        earlier: whether there was one, of which nothing is known where there is no such file.
    """

    def __init__(self, path: Path, *, earlier: bool) -> None:
        self._path = path
        unknown = "[null]" if earlier else "[]"
        text = path.read_text(encoding="utf-8") if path.is_file() else unknown
        self._taken: list[list[float | None] | None] = json.loads(text)

    def begin(self) -> None:
        """Note one of which nothing is known yet."""
        self._taken.append(None)
        self._write()

    def end(self, wall: float, processor: float | None) -> None:
        """Note what it took."""
        self._taken[-1] = [round(wall, 1), processor]
        self._write()

    def totals(self) -> dict[str, float | None]:
        """Of all attempts; None where one is not known."""
        names = ("wall_seconds", "processor_seconds")
        columns = zip(*(one or (None, None) for one in self._taken))
        return {
            name: None if None in column else round(sum(column), 1)
            for name, column in zip(names, columns)
        }

    def _write(self) -> None:
        atomic_write_text(self._path, json.dumps(self._taken))


def _tell(
    epochs: dict[str, dict[str, Any]],
    known: int,
    told: Callable[[int, dict[str, Any]], None],
    *,
    whole: bool,
) -> int:
    """Tell of the epochs that have ended since; the last may be at work. How many are told of."""
    ended = len(epochs) - (not whole)
    for number in list(epochs)[known:ended]:
        told(int(number), epochs[number])
    return max(known, ended)


def epochs_of(log: str) -> dict[str, dict[str, Any]]:
    """Per epoch the IoU of each class in percent, ``iou``, and the host's last ``mask_ratio``.

    An epoch that was begun again counts as it was in the end.
    """
    epochs: dict[str, dict[str, Any]] = {}
    now: dict[str, Any] = {"iou": {}}
    for found in TOLD.finditer(log):
        if found["epoch"]:
            now = epochs[found["epoch"]] = {"iou": {}}
        elif found["mask_ratio"]:
            now["mask_ratio"] = float(found["mask_ratio"])
        elif found["one"]:
            now["iou"][found["one"]] = float(found["iou"])
        else:
            shares = enumerate(found["shares"].split())
            now["iou"] = {str(one): 100 * float(share) for one, share in shares}
    return {number: epoch for number, epoch in epochs.items() if epoch["iou"]}
