"""What the checks of files cost each command: by the clock around them, and without them.

Checks are all that tells damaged, replaced and lost files: checksums compared and noted, the states
of files before and after they are read, sizes against a limit, outputs against inputs, what a
killed run left. Every run is a fork of one process that has everything loaded, and what is measured
is processor time, of the command without its start.

"In the checks" is what the clock around each of them sums up to, beside the rest of the same run;
the median of a few runs. A busy machine slows both alike. For "side by side" each check is replaced
by a function that does nothing. A round is four runs, with, without, without and with; the ratio is
the median over the rounds, with its quartiles. There are fewer rounds of a run that takes long.
Both are also said of the thread alone that has most to do: files are read and compared in threads
beside it, and where there are cores for them a command takes as long as the busiest. Side by side,
the time that passed is said, too; a machine with other work makes that worthless.

    python benchmarks/checks_cost.py
"""

from __future__ import annotations

import argparse
import functools
import importlib
import os
import pkgutil
import shutil
import statistics
import sys
import tempfile
import threading
import time
import types
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import conformal_plugin
from conformal_plugin._atomic import sweep
from conformal_plugin.cli import main as command_line
from conformal_plugin.cli._outputs import refuse_inputs
from conformal_plugin.cli._read_digest import ReadDigest
from conformal_plugin.files import (
    FileState,
    MapStore,
    Taken,
    _lazy,
    _maps,
    _npy,
    _torch_files,
    checksum,
    take,
    write_label,
)
from conformal_plugin.files._choosing import chosen
from conformal_plugin.files._memory import require_room
from conformal_plugin.files._png import check_png

CLASSES, SIZE = 21, (375, 500)
LEAST_ROUNDS, ENOUGH_SECONDS = 3, 6.0
FORMATS = ("npy", "safetensors", "pt", "npz", "cpmap")
ANNOTATOR = f"""
import numpy as np
def scores(photo):
    place = np.arange({CLASSES}, dtype=np.float32)[:, None, None] / {CLASSES}
    return np.exp(-60 * np.abs(place - photo[None, :, :, 0] / np.float32(255)))
"""
Lines = Mapping[str, Callable[[Path], Sequence[object]]]


def _taken(read: Callable[[], Any], *paths: Path) -> Taken[Any]:
    return Taken(read(), tuple(FileState(0, 0) for _ in paths))


def _safetensors(path: Path, key: str | None, max_bytes: int) -> _maps.FoundMap:
    tensors = load_file(path)
    return _maps.FoundMap(tensors[chosen(tensors, key, path)])


_WITHOUT: Mapping[Callable[..., Any], Callable[..., Any]] = {
    take: _taken,
    checksum: lambda values: 0,
    check_png: lambda content: content[24],
    require_room: lambda *facts: None,
    refuse_inputs: lambda outputs, inputs: None,
    sweep: lambda folders, ours: 0,
    _torch_files._sums_of_values: lambda path, max_bytes: None,
    _torch_files._compare: lambda tensor, sums: None,
    _npy._whole: lambda file, size: np.lib.format.read_array(file, allow_pickle=False),
}


def leave_out_the_checks() -> None:
    """In this process, for good."""
    _replace(_WITHOUT)
    _maps._READERS[".safetensors"] = _safetensors
    ReadDigest.add = lambda self, name, *checksums: None  # type: ignore[method-assign]


def _replace(functions: Mapping[Callable[..., Any], Callable[..., Any]]) -> None:
    """Put other functions in the place of some, wherever the package has imported them."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == conformal_plugin.__name__:
            for attribute, value in list(vars(module).items()):
                if isinstance(value, types.FunctionType) and value in functions:
                    setattr(module, attribute, functions[value])


class Clock:
    """Sums up the processor time in the checks of this process, by thread."""

    def __init__(self) -> None:
        self.of_thread: Counter[int] = Counter()

    def around(self, check: Callable[..., Any]) -> Callable[..., Any]:
        """The check with the clock around it."""

        @functools.wraps(check)
        def clocked(*arguments: Any, **options: Any) -> Any:
            began = time.thread_time()
            try:
                return check(*arguments, **options)
            finally:
                self._add(time.thread_time() - began)

        return clocked

    def take(self, read: Callable[[], Any], *paths: Path) -> Taken[Any]:
        """Around ``take``, but for what it reads."""

        def unclocked() -> Any:
            began = time.thread_time()
            try:
                return read()
            finally:
                self._add(began - time.thread_time())

        return self.around(take)(unclocked, *paths)

    def install(self) -> None:
        """In this process, for good."""
        clocked = {check: self.around(check) for check in _WITHOUT if check is not _npy._whole}
        _replace({**clocked, take: self.take})
        ReadDigest.add = self.around(ReadDigest.add)  # type: ignore[method-assign]

    def _add(self, seconds: float) -> None:
        self.of_thread[threading.get_ident()] += seconds  # type: ignore[assignment]


class Run(NamedTuple):
    """What a run took, in seconds."""

    processor: float
    checks: float
    busiest: float
    busiest_checks: float
    elapsed: float


class ReadingThreads(ThreadPoolExecutor):
    """Keeps what each of the threads takes that read ahead."""

    of_thread: ClassVar[Counter[int]] = Counter()

    def submit(self, work: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        def clocked() -> Any:
            began = time.thread_time()
            try:
                return work(*arguments, **options)
            finally:
                self.of_thread[threading.get_ident()] += time.thread_time() - began

        return super().submit(clocked)


def _run(processor: float, elapsed: float, checks: Mapping[int, float]) -> Run:
    """What a run took, of the processor time of all threads and that of each in the checks."""
    reading = ReadingThreads.of_thread
    threads = {**reading, threading.get_ident(): processor - sum(reading.values())}
    busiest = max(threads, key=threads.__getitem__)
    in_it = checks.get(busiest, 0.0)
    return Run(processor, sum(checks.values()), threads[busiest], in_it, elapsed)


def measured(line: Sequence[object], how: str, log: Path) -> Run:
    """Run a command in a fork of this process; gives its times, and that in the checks."""
    took = log.with_name("took")
    pid = os.fork()
    if not pid:
        code = 70
        try:
            sys.stdout = sys.stderr = log.open("w", encoding="utf-8")
            clock = Clock()
            if how == "clocked":
                clock.install()
            elif how == "without":
                leave_out_the_checks()
            else:  # as much of the memory that the fork shares is touched before the time is taken
                _replace({check: check for check in _WITHOUT})
            setattr(_lazy, ThreadPoolExecutor.__name__, ReadingThreads)
            started, began = time.perf_counter(), time.process_time()
            code = command_line([str(part) for part in line])
            processor, elapsed = time.process_time() - began, time.perf_counter() - started
            run = _run(processor, elapsed, clock.of_thread)
            took.write_text(" ".join(map(str, run)))
            sys.stdout.flush()
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    if status:
        raise SystemExit(f"{line[0]} ended with status {status}: {log.read_text()}")
    return Run(*map(float, took.read_text().split()))


def shares(run: Callable[[str], Run]) -> tuple[float, float, float]:
    """The seconds of a run without the checks, and these beside it: all threads, the busiest."""
    runs = [run("clocked") for _ in range(5)]
    return (
        statistics.median(one.processor - one.checks for one in runs),
        statistics.median(one.checks / (one.processor - one.checks) for one in runs),
        statistics.median(one.busiest_checks / (one.busiest - one.busiest_checks) for one in runs),
    )


def side_by_side(run: Callable[[str], Run], rounds: int) -> list[tuple[float, float, float]]:
    """What runs with the checks take beside those without: all threads, the busiest, elapsed."""
    found: list[tuple[float, float, float]] = []
    without = 0.0
    while len(found) < rounds and (len(found) < LEAST_ROUNDS or without < ENOUGH_SECONDS):
        runs = [run(how) for how in ("with", "without", "without", "with")]
        without += runs[1].processor + runs[2].processor
        processor, _, busiest, _, elapsed = zip(*runs)
        found.append((_ratio(processor), _ratio(busiest), _ratio(elapsed)))
    return found


def _ratio(seconds: Sequence[float]) -> float:
    return (seconds[0] + seconds[3]) / (seconds[1] + seconds[2])


def _write_to_store(path: Path, scores: np.ndarray[Any, Any]) -> None:
    names = [f"class {number}" for number in range(CLASSES)]
    store = MapStore(path.parent, annotator={"name": path.parent.name}, class_names=names)
    store.write(path.stem, scores)


_WRITERS: Mapping[str, Callable[[Path, np.ndarray[Any, Any]], object]] = {
    "npy": np.save,
    "safetensors": lambda path, scores: save_file({"probs": torch.from_numpy(scores)}, path),
    "pt": lambda path, scores: torch.save(torch.from_numpy(scores), path),
    "npz": lambda path, scores: np.savez_compressed(path, probs=scores),
    "cpmap": _write_to_store,
}


def make_inputs(folder: Path, images: int, formats: Collection[str], dtype: str) -> None:
    """Photos, labels, an annotator's maps in each format, another's, lists and an annotator."""
    rng = np.random.default_rng(0)
    for name in (*formats, "photos"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    coarse = (SIZE[0] // 25, SIZE[1] // 25)
    for number in range(images):
        truth = np.kron(rng.integers(0, CLASSES, coarse), np.ones((25, 25), int)).astype(np.uint8)
        name = f"im{number:04}"
        write_label(folder / "labels" / f"{name}.png", truth)
        photo = np.repeat((truth * 12)[..., None], 3, axis=2)
        photo += rng.integers(0, 4, photo.shape, dtype=np.uint8)
        Image.fromarray(photo).save(folder / "photos" / f"{name}.png")
        _write_to_store(folder / "other" / f"{name}.cpmap", _scores(truth, rng).astype(dtype))
        scores = _scores(truth, rng).astype(dtype)
        for kind in formats:
            _WRITERS[kind](folder / kind / f"{name}.{kind}", scores)
    names = [f"im{number:04}" for number in range(images)]
    (folder / "ids.txt").write_text("".join(f"{name}\n" for name in names))
    for part, ids in (("half", names[: images // 2]), ("rest", names[images // 2 :])):
        (folder / f"{part}.txt").write_text("".join(f"{name}\n" for name in ids))
    (folder / "classes.txt").write_text("".join(f"class {c}\n" for c in range(CLASSES)))
    (folder / "its_annotator.py").write_text(ANNOTATOR)


def _scores(truth: np.ndarray[Any, Any], rng: np.random.Generator) -> np.ndarray[Any, Any]:
    """Of an annotator that is wrong in a quarter of the blocks, and less sure there."""
    blocks = truth[::25, ::25]
    wrong = rng.random(blocks.shape) < 0.25
    seen = np.where(wrong, rng.integers(0, CLASSES, blocks.shape), blocks)
    sure = np.where(wrong, rng.uniform(0.3, 0.7, blocks.shape), rng.uniform(0.5, 1, blocks.shape))
    one = (1 - sure) / (CLASSES - 1) + np.eye(CLASSES)[seen].transpose(2, 0, 1) * sure
    large = one.repeat(25, axis=1).repeat(25, axis=2).astype(np.float32)
    return large * rng.uniform(0.9, 1, SIZE).astype(np.float32)


def lines_for(folder: Path, kind: str, *, everything: bool) -> Lines:
    """What is typed, of the folder for results, for one format of the maps."""
    maps = ["--maps", folder / kind]
    on = [*maps, "--labels", folder / "labels", "--ids", folder / "ids.txt"]
    lines: dict[str, Callable[[Path], Sequence[object]]] = {
        "calibrate": lambda out: ["calibrate", *on, "--alpha", 0.2, "-o", out / "c.json"],
        "filter": lambda out: ["filter", *maps, "--qhat", 0.6, "--out", out / "labels"],
        "evaluate": lambda out: ["evaluate", *on, "--qhat", 0.6],
    }
    if not everything:
        return lines
    return {
        **lines,
        "calibrate, default": lambda out: ["calibrate", *on, "-o", out / "c.json"],
        "choose": lambda out: ["choose", *on, "-o", out / "choice.json"],
        "report": lambda out: [
            *("report", *on, "--calibration", folder / "c.json", "--out", out / "report"),
            *("--photos", folder / "photos"),
        ],
        "combine": lambda out: [
            *("combine", "--maps", folder / kind, folder / "other", "--out", out / "combined")
        ],
        "plan": lambda out: [
            *("plan", *maps, "--labels", folder / "labels", "--ids", folder / "half.txt"),
            *("--unlabelled", folder / "rest.txt", "--calibrate-on", 2, "--train-on", 2),
            *("--out", out / "plan"),
        ],
        "annotate, maps": lambda out: [*_annotating(folder), "--out", out / "maps"],
        "annotate, labels": lambda out: [
            *(*_annotating(folder), "--calibration", folder / "c.json", "--out", out / "labels")
        ],
    }


def _annotating(folder: Path) -> list[object]:
    return [
        *("annotate", "--photos", folder / "photos", "--annotator", "its_annotator:scores"),
        *("--classes", folder / "classes.txt", "--background", "none"),
    ]


def load_all() -> None:
    """Import every module, so that no run has to."""
    for module in pkgutil.walk_packages(conformal_plugin.__path__, f"{conformal_plugin.__name__}."):
        if ".testing" not in module.name and ".compiled" not in module.name:
            importlib.import_module(module.name)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--dtype", choices=("float16", "float32"), default="float16")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--only", nargs="+", help="commands, by the names in the table")
    options = parser.parse_args(argv)
    if not hasattr(os, "fork"):
        raise SystemExit("this needs a system that forks processes")
    torch.set_num_threads(1)
    load_all()
    head = f"{'s without':>9} {'in the checks':>13} {'busiest':>8}"
    print(f"{'command':<19} {'maps':<11} {head}  side by side; busiest; elapsed")
    with tempfile.TemporaryDirectory() as temporary:
        folder, out, log = (Path(temporary) / name for name in ("inputs", "out", "log"))
        folder.mkdir()
        sys.path.insert(0, str(folder))
        make_inputs(folder, options.images, {FORMATS[0], *options.formats}, options.dtype)

        def run(line: Callable[[Path], Sequence[object]], how: str) -> Run:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            return measured(line(out), how, log)

        first = lines_for(folder, FORMATS[0], everything=False)["calibrate"](folder)
        measured(first, "with", log)  # the calibration that others take
        for kind in options.formats:
            lines = lines_for(folder, kind, everything=kind == FORMATS[0])
            for name, line in lines.items():
                if options.only and name not in options.only:
                    continue
                seconds, all_threads, busiest = shares(partial(run, line))
                found = f"{seconds:>9.3f} {all_threads:>13.1%} {busiest:>8.1%}"
                rounds = side_by_side(partial(run, line), options.rounds)
                beside = "; ".join(map(_spread, zip(*rounds))) if len(rounds) > 1 else "-"
                print(f"{name:<19} {kind:<11} {found}  {beside}", flush=True)
    return 0


def _spread(found: Sequence[float]) -> str:
    low, middle, high = statistics.quantiles(found, n=4, method="inclusive")
    return f"{middle:.3f} ({low:.3f} ... {high:.3f})"


if __name__ == "__main__":
    sys.exit(main())
