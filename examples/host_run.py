"""One run of a host's own script: its folder, its command, and what its log says of each epoch."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from conformal_plugin._atomic import atomic_write_text

__all__ = ["HostRun", "end_session", "epochs_of"]

EPOCH = re.compile(r"=+> Epoch: (\d+)")
CLASS = re.compile(r">>>> Class \[(\d+) [^]]*\] IoU: ([\d.]+|nan)")
MASK_RATIO = re.compile(r"Mask ratio: ([\d.]+)")


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

    def result(self) -> dict[str, Any] | None:
        """What a finished run has left, None where it is not finished."""
        path = self.folder / "result.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    def go(self, runner: str) -> int:
        """Run the script, or go on from its checkpoint; the exit code.

        Args:
            runner: the command; ``{host}``, ``{script}`` and ``{seed}`` are filled in, the script's
                arguments are put behind it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        command = self.command(runner, self.folder)
        log = self.folder / "log.txt"
        began = time.monotonic()
        with log.open("ab") as said:
            done = subprocess.Popen(command, cwd=self.host, stdout=said, stderr=said)
            seconds = _processor_seconds(done)
        if done.returncode == 0:
            found = {
                "epochs": epochs_of(log.read_text(encoding="utf-8", errors="replace")),
                "wall_seconds": round(time.monotonic() - began, 1),
                "processor_seconds": seconds,
            }
            atomic_write_text(self.folder / "result.json", json.dumps(found, indent=1))
        return done.returncode

    def command(self, runner: str, folder: Path) -> list[str]:
        """The script with all its arguments, and its config written.

        Args:
            runner: as for :meth:`go`.
            folder: takes ``config.yaml`` and ``saved/``.
        """
        config = folder / "config.yaml"
        atomic_write_text(config, yaml.safe_dump(self.config, sort_keys=False))
        (folder / "saved").mkdir(exist_ok=True)
        values = {"host": self.host, "script": self.script, "seed": self.seed}
        command = [part.format(**values) for part in shlex.split(runner)]
        command += ["--config", str(config), "--save-path", str(folder / "saved")]
        labelled, unlabelled = map(str, self.lists)
        return [*command, "--labeled-id-path", labelled, "--unlabeled-id-path", unlabelled]


def epochs_of(log: str) -> dict[str, dict[str, Any]]:
    """Per epoch the IoU of each class in percent, ``iou``, and the host's last ``mask_ratio``.

    An epoch that was begun again counts as it was in the end.
    """
    epochs: dict[str, dict[str, Any]] = {}
    now: dict[str, Any] = {}
    for line in log.splitlines():
        if found := EPOCH.search(line):
            now = epochs[found[1]] = {"iou": {}}
        elif found := CLASS.search(line):
            now["iou"][found[1]] = float(found[2])
        elif found := MASK_RATIO.search(line):
            now["mask_ratio"] = float(found[1])
    return {number: epoch for number, epoch in epochs.items() if epoch["iou"]}


def end_session(process: subprocess.Popen[bytes]) -> None:
    """End a process that was started in a session of its own, and all that it has started.

    Launchers such as torchrun end their workers when they are asked to; these may have sessions of
    their own, so that whoever is killed at once leaves them behind.
    """
    for asked, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, None)):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, asked)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return


def _processor_seconds(process: subprocess.Popen[bytes]) -> float | None:
    """Wait for a process; what it took of the processors, None where that is not told."""
    if not hasattr(os, "wait4"):
        process.wait()
        return None
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return round(usage.ru_utime + usage.ru_stime, 1)
