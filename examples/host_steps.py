"""What a step of each of several runs takes of the processor; the runs take their steps in turn."""

from __future__ import annotations

import contextlib
import os
import select
import statistics
import struct
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from host_process import end_session, started
from host_run import HostRun

from conformal_plugin.errors import ConformalError

__all__ = ["StepTimes", "step_times", "steps_table"]

WARM = 5
"""Steps that do not count: memory is taken, and the first of stage I is looked at."""

HOOK = Path(__file__).resolve().parent / "host_turns"


@dataclass(frozen=True)
class StepTimes:
    """Of one run.

    Attributes:
        median: processor seconds of a step.
        ratio: median over the rounds of its seconds by those of the first run in the same round.
        total_ratio: its seconds of all rounds by those of the first run.
    """

    median: float
    ratio: float
    total_ratio: float


def step_times(runs: Mapping[str, HostRun], runner: str, steps: int) -> dict[str, StepTimes]:
    """Start all runs, let them step in turn, every other round in reverse order, and end them.

    One runs while the others wait, so that whatever else the machine does slows all of them alike.
    The seconds are those of all threads of the process that steps; a loader's worker processes are
    not in them.

    Args:
        runs: by name; each step of the first is compared with the others' of the same round.
        runner: as :meth:`HostRun.go` takes it, for one process a run.
        steps: rounds that count.

    Raises:
        ConformalError: a run ended before its steps were done.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as running:
        turns = {
            name: running.enter_context(_at_a_turn(run, runner, Path(scratch) / name))
            for name, run in runs.items()
        }
        for turn in turns.values():
            turn.finished()
        for number in range(WARM + steps):
            for name in list(turns)[:: -1 if number % 2 else 1]:
                turns[name].go()
                took = turns[name].finished()
                if number >= WARM:
                    seconds[name].append(took)
    first = seconds[next(iter(seconds))]
    return {
        name: StepTimes(
            median=statistics.median(took),
            ratio=statistics.median(mine / floor for mine, floor in zip(took, first)),
            total_ratio=sum(took) / sum(first),
        )
        for name, took in seconds.items()
    }


def steps_table(times: Mapping[str, StepTimes], titles: Mapping[str, str]) -> str:
    """A line a row, as Markdown."""
    text = ["| | processor ms, a step | beside the first | all steps |", "| --- " * 4 + "|"]
    for name, one in times.items():
        beside = f"{one.ratio:.3f} | {one.total_ratio:.3f}"
        text.append(f"| {titles[name]} | {1000 * one.median:.1f} | {beside} |")
    return "\n".join(text)


@dataclass
class _Turn:
    """A run that stands between two of its steps."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    said: int
    give: int

    def go(self) -> None:
        os.write(self.give, b"g")

    def finished(self) -> float:
        """Wait for the end of a step; the processor seconds since it was let go."""
        while not select.select([self.said], [], [], 1)[0]:
            if self.process.poll() is not None:
                last = self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:]
                raise ConformalError(
                    f"{self.name} ended after too few steps, with exit {self.process.returncode}; "
                    "it needs more epochs or photos, or failed:\n" + "\n".join(last)
                )
        (took,) = struct.unpack("d", os.read(self.said, 8))
        return float(took)


@contextlib.contextmanager
def _at_a_turn(run: HostRun, runner: str, folder: Path) -> Iterator[_Turn]:
    folder.mkdir()
    for pipe in ("said", "go"):
        os.mkfifo(folder / pipe)
    # Open at both ends, so that neither side waits for the other to open.
    said, give = (os.open(folder / pipe, os.O_RDWR) for pipe in ("said", "go"))
    paths = os.pathsep.join(filter(None, (str(HOOK), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths, "HOST_STEPS_PLACE": str(folder)}
    log = folder / "log.txt"
    with log.open("wb") as out:
        process = started(
            run.command(runner, folder),
            cwd=run.host,
            env=environment,
            stdout=out,
            stderr=out,
        )
    try:
        yield _Turn(folder.name, process, log, said, give)
    finally:
        end_session(process)
        os.close(said)
        os.close(give)
