"""Does it lift the host? A host's own scripts with and without conformal labels, over seeds."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from host_folder import FORMS, HostStudy
from host_process import interrupting
from host_rows import ROWS
from host_run import HostRun
from host_steps import step_times, steps_table
from host_table import table
from run_options import exit_code
from voc_like import LAYOUT, channels

from conformal_plugin.errors import OptionError

__all__ = ["main"]

EXAMPLES = """\
example:
  python examples/host_study.py --host ../UniMatch --data ../data \\
      --config ../UniMatch/configs/pascal.yaml \\
      --runner "torchrun --standalone --nproc_per_node 1 {host}/{script}"
      a clone of the host, a folder with photos, labels, probs and lists, the host's own recipe
  python examples/host_study.py --host ../UniMatch --data ../data \\
      --config ../UniMatch/configs/pascal.yaml --table
      what is known so far
  python examples/host_study.py --host ../UniMatch --data ../data --rows host default \\
      --steps 60 --runner "torchrun --standalone --nproc_per_node 1 {host}/{script}"
      what a step of each row takes of the processor, beside one of the first row

A run that was stopped goes on, at the host's last checkpoint, when the command is started again.
Runs are seeded where the command makes use of {seed}.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is missing, and print the table; return the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    if not options.table and options.runner is None:
        parser.error("--runner: how a script is started, such as 'torchrun {host}/{script}'")
    with interrupting():
        return exit_code("host_study", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    recipe, side = _recipe(options)
    study = HostStudy(options, recipe, side)
    study.check()
    if options.table:
        if not (lines := study.read()):
            raise OptionError(
                f"no finished run of this study in {study.place.resolve()}; was --out another, or "
                f"the current folder?"
            )
        print(table(lines, options.last))
        return 0
    study.prepare()
    for row, words in study.refused().items():
        print(f"Row {row!r} is left out: {words}", file=sys.stderr, flush=True)
    if options.steps is not None:
        runs = {row: study.run(row, 0) for row in study.usable()}
        times = step_times(runs, options.runner, options.steps)
        print(steps_table(times, {row: ROWS[row].title for row in runs}))
        return 0
    failed = _runs_that_fail(study, options)
    study.write_csv()
    if lines := study.read():
        print(table(lines, options.last))
        for row, words in study.refused().items():
            print(f"\nRow {row!r} is left out: {words}")
    return 1 if failed else 0


def _recipe(options: argparse.Namespace) -> tuple[dict[str, Any], int | None]:
    """The host's, with as many classes as the maps have; and the side of the photos."""
    if not options.config.is_file():
        raise OptionError(f"--config {options.config}: no such file in {Path.cwd()}")
    if not (options.host / options.script).is_file():
        raise OptionError(
            f"--host {options.host} holds no script {options.script}; name a clone of the host, "
            f"and one of its scripts with --script"
        )
    classes = channels(options.data)
    recipe = {"nclass": classes, **yaml.safe_load(options.config.read_text(encoding="utf-8"))}
    if recipe["nclass"] != classes:
        raise OptionError(
            f"{options.config} has nclass {recipe['nclass']}, and the maps of {options.data} have "
            f"{classes} classes; leave nclass out, or give a recipe for these"
        )
    unknown = [one for one in options.classes or () if not 0 <= one < classes]
    if unknown:
        raise OptionError(
            f"--classes {unknown[0]}: the maps of {options.data} have classes 0 to {classes - 1}"
        )
    side = recipe.pop("side", None)
    return recipe, side if options.side is None else options.side


def _runs_that_fail(study: HostStudy, options: argparse.Namespace) -> int:
    """Run what is missing; how many runs ended badly."""
    if options.seeds > 1 and "{seed}" not in options.runner:
        print(
            "warning: --runner has no {seed}: runs of one number share no random draws, and the "
            "differences seed by seed are those of independent runs",
            file=sys.stderr,
        )
    rows = study.usable()
    runs = [study.run(row, seed) for seed in range(options.seeds) for row in rows]
    due = [run for run in runs if run.result() is None]
    if len(due) < len(runs):
        print(f"{len(runs) - len(due)} of {len(runs)} runs are known", file=sys.stderr)
    deadline = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    epochs, stop = study.recipe["epochs"], threading.Event()

    def say(words: str) -> None:
        print(words, file=sys.stderr, flush=True)

    def go(run: HostRun) -> bool:
        if stop.is_set() or (deadline is not None and time.monotonic() > deadline):
            return False
        name, known = run.folder.name, len(run.epochs())
        where = f"goes on after epoch {known} of {epochs}" if known else "begins"
        say(f"{name} {where}; its log is {run.log}")

        def told(number: int, epoch: dict[str, Any]) -> None:
            say(f"{name}: epoch {number + 1} of {epochs}, mIoU {study.miou(epoch):.1f}")

        problem = run.go(options.runner, told, stop)
        if not stop.is_set():
            say(f"{name}: {problem or 'done'}")
        study.write_csv()
        return bool(problem)

    with ThreadPoolExecutor(options.jobs) as pool:
        try:
            return sum(pool.map(go, due))
        except BaseException:
            stop.set()
            raise


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="host_study.py",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    path: dict[str, Any] = {"type": Path, "metavar": "DIR"}
    parser.add_argument("--host", required=True, help="a clone, which is copied", **path)
    parser.add_argument("--data", required=True, help=LAYOUT, **path)
    parser.add_argument("--out", default=Path("runs/host_study"), **path)
    parser.add_argument(
        "--config",
        type=Path,
        metavar="YAML",
        default=Path(__file__).with_suffix(".yaml"),
        help="the host's recipe (default: one that two cores can train)",
    )
    parser.add_argument("--runner", help="how a script is started; {host}, {script}, {seed}")
    parser.add_argument("--script", default="fixmatch.py", help="(default: %(default)s)")
    parser.add_argument("--scores", choices=FORMS, default="as-is")
    parser.add_argument("--labelled", type=int, metavar="N", help="the first N labelled photos")
    parser.add_argument(
        "--side",
        type=int,
        help="pixels of a photo's longer side (default: what the recipe's `side` says, else as "
        "photos are)",
    )
    parser.add_argument("--rows", nargs="+", choices=tuple(ROWS), default=list(ROWS))
    parser.add_argument(
        "--classes", nargs="+", type=int, metavar="C", help="of the mIoU (default: all)"
    )
    parser.add_argument(
        "--background", metavar="C", help="of calibrate: the background's class, or none"
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="0 to N-1 (default: 3)")
    parser.add_argument(
        "--last", type=int, default=2, metavar="N", help="epochs that count (default: 2)"
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time")
    parser.add_argument("--minutes", type=float, metavar="M", help="begin no run after that")
    parser.add_argument("--table", action="store_true", help="print what is known, run nothing")
    parser.add_argument(
        "--steps", type=int, metavar="N", help="time N steps of each row in turn, train nothing"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
