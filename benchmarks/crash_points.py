"""A process that ends, or a disk that is full or read-only, at each operation on a file.

Every command that writes is run once undisturbed, which gives its results and the number of its
operations: a file opened to write, written through, renamed or removed, a folder made. Then, for
each of them, it is begun anew and

* killed there, files half written as a power cut leaves them,
* or told from there on that the disk is full,
* or told from the first on that it is read-only; and run twice at once.

A disk that fails must end in a message and exit code 2. In the end the same command is run again,
undisturbed, and must leave the same bytes as if nothing had been, and no temporary file.

    python benchmarks/crash_points.py
"""

from __future__ import annotations

import argparse
import errno
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from conformal_plugin.cli import (
    _checkpoint,
    _done_record,
    _review_record,
    main as command_line,
)
from conformal_plugin.files import write_label

RECORDS = (_done_record.RECORD, _review_record.RECORD)
KILLED = 9
IMAGES = 12
ANNOTATOR = """
import numpy as np
def scores(photo):
    scores = np.full((3,) + photo.shape[:2], 0.1, np.float32)
    scores[photo[0, 0, 0] // 100] = 0.7
    return scores
"""


class Disk:
    """Counts the operations that change files below a folder, and fails at one of them.

    Args:
        root: the folder.
        at: the operation, from 1; 0 for none.
        error: what the disk says from there on; None where the process ends instead.
    """

    def __init__(self, root: Path, at: int = 0, error: int | None = None) -> None:
        self.operations = 0
        self._root = os.path.realpath(root)
        self._at = at
        self._error = error
        self._fsync, self._write = os.fsync, os.write

    def install(self) -> None:
        """Watch this process, for good."""
        sys.addaudithook(self._heard)
        os.fsync = self._synced
        os.write = self._written  # type: ignore[assignment]

    def _heard(self, event: str, facts: tuple[Any, ...]) -> None:
        writes = event == "open" and facts[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        if (writes or event in ("os.rename", "os.remove", "os.mkdir")) and self._is_below(facts[0]):
            self._operation(full=bool(writes) or event == "os.mkdir")

    def _synced(self, number: int) -> None:
        half = os.fstat(number).st_size // 2
        self._operation(before_the_end=lambda: os.ftruncate(number, half))
        self._fsync(number)

    def _written(self, number: int, content: bytes) -> int:
        half = content[: len(content) // 2]
        self._operation(before_the_end=lambda: self._write(number, half))
        return self._write(number, content)

    def _operation(
        self, *, full: bool = True, before_the_end: Callable[[], object] = lambda: None
    ) -> None:
        self.operations += 1
        if not self._at or self.operations < self._at:
            return
        if self._error is None:
            before_the_end()
            os._exit(KILLED)
        if full or self._error == errno.EROFS:
            raise OSError(self._error, os.strerror(self._error))

    def _is_below(self, path: object) -> bool:
        if not isinstance(path, (str, bytes, os.PathLike)):
            return False
        return os.path.realpath(os.fsdecode(path)).startswith(self._root + os.sep)


@dataclass(frozen=True)
class Case:
    """A command that writes.

    Attributes:
        name: what it is.
        line: what is typed, of the folders of inputs and of results.
        prepare: puts what is changed in place among the results.
    """

    name: str
    line: Callable[[Path, Path], Sequence[object]]
    prepare: Callable[[Path, Path], object] = lambda inputs, work: None


def begun(line: Sequence[object], disk: Disk, log: Path, count: Path | None = None) -> int:
    """Start the command in a process of its own; gives its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        torch.set_num_threads(1)
        sys.stdout = sys.stderr = log.open("w", encoding="utf-8")
        disk.install()
        code = command_line([str(part) for part in line])
        if count is not None:
            count.write_text(str(disk.operations))
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(code)


def ended(pid: int) -> int:
    """The exit code of a process; 124 where it had to be killed after a minute."""
    signal.signal(signal.SIGALRM, lambda *_: os.kill(pid, signal.SIGKILL))
    signal.alarm(60)
    _, status = os.waitpid(pid, 0)
    signal.alarm(0)
    return 124 if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def results(work: Path) -> dict[str, bytes | None]:
    """All that is in a folder; of records of what is done, which hold times, that they are."""
    return {
        path.relative_to(work).as_posix(): None if path.name in RECORDS else path.read_bytes()
        for path in sorted(work.rglob("*"))
        if path.is_file()
    }


class Survey:
    """Runs one command again and again, each time with another disturbance.

    Args:
        case: the command.
        inputs: its inputs.
        root: an empty folder.
    """

    def __init__(self, case: Case, inputs: Path, root: Path) -> None:
        self._case = case
        self._inputs = inputs
        self._work, self._log, self._count = root / "work", root / "log", root / "count"
        self._line = case.line(inputs, self._work)
        self.found: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._begin()
        code = ended(begun(self._line, Disk(self._work), self._log, self._count))
        if code:
            raise SystemExit(f"{case.name} ended with {code}: {self._log.read_text()}")
        self.operations = int(self._count.read_text())
        self._good = results(self._work)

    def kill(self, at: int) -> None:
        """End the process at an operation."""
        self._disturb(f"killed at {at}", Disk(self._work, at), {KILLED: "killed"})

    def fill(self, at: int) -> None:
        """Say from an operation on that the disk is full."""
        disk = Disk(self._work, at, errno.ENOSPC)
        # What is cleared away at the end needs no room.
        self._disturb(f"full from {at}", disk, {2: "full", 0: "full, and nothing to write"})

    def forbid(self) -> None:
        """Say that the disk is read-only."""
        self._disturb("read-only", Disk(self._work, 1, errno.EROFS), {2: "read-only"})

    def twice(self) -> None:
        """Run it twice at once, and once more."""
        self._begin()
        logs = [self._log.with_suffix(f".{number}") for number in (1, 2)]
        pids = [begun(self._line, Disk(self._work), log) for log in logs]
        for pid, log in zip(pids, logs):
            self._note("twice", ended(pid), {0: "twice", 2: "twice, one refused"}, log)
        self._again("twice")

    def _begin(self) -> None:
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir()
        self._case.prepare(self._inputs, self._work)

    def _disturb(self, how: str, disk: Disk, expected: Mapping[int, str]) -> None:
        self._begin()
        code = ended(begun(self._line, disk, self._log))
        self._note(how, code, expected, self._log)
        self._again(how)

    def _note(self, how: str, code: int, expected: Mapping[int, str], log: Path) -> None:
        text = log.read_text(encoding="utf-8")
        if code not in expected or "Traceback" in text or (code == 2 and not text.strip()):
            self.wrong.append(f"{self._case.name}, {how}: exit code {code}: {text[-2000:]}")
        else:
            self.found[expected[code]] += 1

    def _again(self, how: str) -> None:
        code = ended(begun(self._line, Disk(self._work), self._log))
        now = results(self._work)
        if code or now != self._good:
            names = sorted(
                name
                for name in now.keys() | self._good.keys()
                if now.get(name) != self._good.get(name)
            )
            self.wrong.append(
                f"{self._case.name}, {how}, run again: exit code {code}, other files {names[:5]}: "
                f"{self._log.read_text()[-2000:]}"
            )
        else:
            self.found["the same bytes in the end"] += 1


def make_inputs(inputs: Path) -> None:
    """Photos, maps of two annotators, labels, lists, a calibration and an annotator."""
    rng = np.random.default_rng(0)
    names = [f"im{number}" if number % 3 else f"deep/im{number}" for number in range(IMAGES)]
    for folder in ("maps", "other", "photos"):
        (inputs / folder / "deep").mkdir(parents=True)
    for name in names:
        truth = rng.integers(0, 3, (8, 6)).astype(np.uint8)
        write_label(inputs / "labels" / f"{name}.png", truth)
        for folder in ("maps", "other"):
            scores = 0.4 * rng.dirichlet(np.ones(3), (8, 6)) + 0.6 * np.eye(3)[truth]
            np.save(inputs / folder / f"{name}.npy", scores.transpose(2, 0, 1).astype(np.float32))
        photo = np.full((8, 6, 3), rng.integers(0, 256), np.uint8)
        Image.fromarray(photo).save(inputs / "photos" / f"{name}.png")
    (inputs / "ids.txt").write_text("".join(f"{name}\n" for name in names))
    (inputs / "half.txt").write_text("".join(f"{name}\n" for name in names[:6]))
    (inputs / "rest.txt").write_text("".join(f"{name}\n" for name in names[6:]))
    (inputs / "classes.txt").write_text("a\nb\nc\n")
    (inputs / "its_annotator.py").write_text(ANNOTATOR)
    line = [*_of(inputs), "--alpha", 0.2, "-o", inputs / "c.json"]
    code = command_line([str(part) for part in ("calibrate", *line, "--quiet")])
    if code:
        raise SystemExit(f"calibrate ended with {code}")
    code = command_line([str(part) for part in _exporting(inputs, "fiftyone", inputs / "sent")])
    if code:
        raise SystemExit(f"export ended with {code}")


def _of(inputs: Path) -> list[object]:
    return ["--maps", inputs / "maps", "--labels", inputs / "labels", "--ids", inputs / "ids.txt"]


def _annotating(inputs: Path, work: Path) -> list[object]:
    return [
        *(
            "annotate",
            "--photos",
            inputs / "photos",
            "--annotator",
            "its_annotator:scores",
        ),
        *("--classes", inputs / "classes.txt", "--background", "none", "--out", work / "out"),
    ]


def _exporting(inputs: Path, tool: str, out: Path) -> list[object]:
    return [
        *("export", "--photos", inputs / "photos", "--labels", inputs / "labels", "--to", tool),
        *("--names", inputs / "classes.txt", "--background", "none", "--overwrite", "--out", out),
    ]


def _host(inputs: Path, work: Path) -> None:
    shutil.copytree(inputs / "host", work / "host")


def _patched(inputs: Path, work: Path) -> None:
    shutil.copytree(inputs / "patched", work / "host")


CASES = (
    Case("calibrate", lambda i, w: ["calibrate", *_of(i), "--alpha", 0.2, "-o", w / "c.json"]),
    Case(
        "calibrate, looks",
        lambda i, w: [
            *("calibrate", *_of(i), "--guarantee", "precision", "--epsilon", 0.3, "--planned", 20),
            *("--looks", w / "looks.json", "-o", w / "c.json"),
        ],
    ),
    Case(
        "filter", lambda i, w: ["filter", "--maps", i / "maps", "--qhat", 0.4, "--out", w / "out"]
    ),
    Case(
        "choose",
        lambda i, w: [
            *("choose", *_of(i), "-o", w / "choice.json", "--calibration-out", w / "c.json")
        ],
    ),
    Case(
        "report",
        lambda i, w: [
            *("report", *_of(i), "--calibration", i / "c.json", "--out", w / "report"),
            *("--photos", i / "photos"),
        ],
    ),
    Case(
        "combine",
        lambda i, w: ["combine", "--maps", i / "maps", i / "other", "--out", w / "out"],
    ),
    Case(
        "combine, pick",
        lambda i, w: [
            *("combine", "--maps", i / "maps", i / "other", "--out", w / "out", "--rule", "pick"),
            *("--fit-ids", i / "half.txt", "--labels", i / "labels"),
        ],
    ),
    Case("annotate, maps", _annotating),
    Case(
        "annotate, labels",
        lambda i, w: [*_annotating(i, w), "--calibration", i / "c.json"],
    ),
    Case(
        "plan",
        lambda i, w: [
            *("plan", "--maps", i / "maps", "--labels", i / "labels", "--ids", i / "half.txt"),
            *("--unlabelled", i / "rest.txt", "--calibrate-on", 2, "--train-on", 2),
            *("--out", w / "plan"),
        ],
    ),
    Case(
        "review",
        lambda i, w: [
            *("review", "--maps", i / "maps", "--calibration", i / "c.json", "--out", w / "out"),
            *("--first", 2, "--calibrate-on", 2),
        ],
    ),
    Case("export, cvat", lambda i, w: _exporting(i, "cvat", w / "out")),
    Case("export, masks", lambda i, w: _exporting(i, "cvat-masks", w / "out")),
    Case("export, tasks", lambda i, w: _exporting(i, "label-studio", w / "out")),
    Case("export, fiftyone", lambda i, w: _exporting(i, "fiftyone", w / "out")),
    Case(
        "import",
        lambda i, w: [
            *("import", "--export", i / "sent", "--file", i / "sent", "--ids", i / "ids.txt"),
            *("--out", w / "labels"),
        ],
    ),
    Case("patch", lambda i, w: ["patch", w / "host", "--apply"], _host),
    Case("patch, undo", lambda i, w: ["patch", w / "host", "--undo"], _patched),
)


def make_hosts(inputs: Path, host: Path) -> None:
    """A copy of a host's scripts, and one that is patched."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("host", "patched"):
        shutil.copytree(host, inputs / name, ignore=ignored)
    code = command_line(["patch", str(inputs / "patched"), "--apply", "--quiet"])
    if code:
        raise SystemExit(f"patch ended with {code}")


def some(operations: int, most: int | None) -> Iterable[int]:
    """Numbers of operations, all of them or so many that lie evenly between first and last."""
    if most is None or most >= operations:
        return range(1, operations + 1)
    return sorted({round(at) for at in np.linspace(1, operations, most)})


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--most", type=int, help="operations to disturb each at (default: all)")
    parser.add_argument("--only", nargs="+", help="commands, by the names in the table")
    parser.add_argument(
        "--host",
        type=Path,
        default=Path(__file__).parents[1] / "tests" / "adapters" / "standin" / "unimatch",
        help="scripts to patch",
    )
    options = parser.parse_args(argv)
    if not hasattr(os, "fork"):
        raise SystemExit("this needs a system that forks processes")
    torch.set_num_threads(1)
    sys.dont_write_bytecode = True
    _checkpoint.EVERY_IMAGES = 1
    wrong: list[str] = []
    print(f"{'command':<18} {'operations':>10}  outcomes")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        make_inputs(root / "inputs")
        make_hosts(root / "inputs", options.host)
        sys.path.insert(0, str(root / "inputs"))
        for case in CASES:
            if options.only and case.name not in options.only:
                continue
            survey = Survey(case, root / "inputs", root)
            for at in some(survey.operations, options.most):
                survey.kill(at)
                survey.fill(at)
            survey.forbid()
            survey.twice()
            found = ", ".join(f"{name}: {count}" for name, count in survey.found.items())
            print(f"{case.name:<18} {survey.operations:>10}  {found}", flush=True)
            wrong += survey.wrong
    for line in wrong:
        print(f"WRONG: {line}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
