"""Does it lift the host? A host's own scripts with and without conformal labels, over seeds."""

from __future__ import annotations

import argparse
import contextlib
import io
import shutil
import statistics
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from host_bed import FORMS, has_all_masks, lay_out
from host_rows import LABELS, ROWS, TRUTH
from host_run import HostRun
from host_steps import step_times, steps_table
from host_table import Line, table, write_csv
from run_options import exit_code
from voc_like import LAYOUT, channels

from conformal_plugin._atomic import atomic_write_text
from conformal_plugin.cli import main as conformal_plugin
from conformal_plugin.errors import ConformalError, OptionError

__all__ = ["main"]

EXAMPLES = """\
example:
  python examples/host_study.py --host UniMatch --data ../voc-animals --config pascal.yaml \\
      --runner "torchrun --nproc_per_node 1 {host}/{script}"
      a clone of the host, a folder with photos, labels, probs and lists, the host's own recipe
  python examples/host_study.py --host UniMatch --data ../voc-animals --table
      what is known so far
  python examples/host_study.py --host UniMatch --data ../voc-animals --rows host default \\
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
    return exit_code("host_study", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    recipe = _recipe(options)
    study = _Study(options, recipe)
    if options.steps is not None:
        study.prepare()
        runs = {row: study.run(row, 0) for row in study.usable()}
        times = step_times(runs, options.runner, options.steps)
        print(steps_table(times, {row: ROWS[row].title for row in runs}))
        return 0
    failed = 0 if options.table else _runs_that_fail(study, options)
    lines = study.write_csv()
    print(table(lines, options.last))
    for way, words in study.refused().items():
        print(f"\nLabels '{way}' are refused: {words}")
    return 1 if failed else 0


def _recipe(options: argparse.Namespace) -> dict[str, Any]:
    """The host's, with as many classes as the maps have."""
    classes = channels(options.data)
    recipe = {"nclass": classes, **yaml.safe_load(options.config.read_text(encoding="utf-8"))}
    if recipe["nclass"] != classes:
        raise OptionError(
            f"{options.config} has nclass {recipe['nclass']}, and the maps of {options.data} have "
            f"{classes} classes; leave nclass out, or give a recipe for these"
        )
    return recipe


def _runs_that_fail(study: _Study, options: argparse.Namespace) -> int:
    """Run what is missing; how many runs ended badly."""
    study.prepare()
    runs = [study.run(row, seed) for seed in range(options.seeds) for row in study.usable()]
    due = [run for run in runs if run.result() is None]
    deadline = None if options.minutes is None else time.monotonic() + 60 * options.minutes

    def go(run: HostRun) -> int:
        if deadline is not None and time.monotonic() > deadline:
            return 0
        code = run.go(options.runner)
        said = "done" if code == 0 else f"exit {code}, see {run.folder / 'log.txt'}"
        print(f"{run.folder.name}: {said}", file=sys.stderr, flush=True)
        study.write_csv()
        return code

    with ThreadPoolExecutor(options.jobs) as pool:
        return sum(code != 0 for code in pool.map(go, due))


class _Study:
    """Where everything lies, and which runs there are."""

    def __init__(self, options: argparse.Namespace, recipe: dict[str, Any]):
        self.options, self.recipe = options, recipe
        many = "all" if options.labelled is None else options.labelled
        self.data = options.out / "data" / f"{options.data.name}-{many}-{options.side}"
        self.place = options.out / f"{self.data.name}-{options.scores}-{Path(options.script).stem}"

    def prepare(self) -> None:
        """Photos, maps, labels, and the host twice: as it is, and patched."""
        options = self.options
        lay_out(options.data, self.data, options.side, options.labelled, [options.scores])
        for name in ("plain", "patched"):
            host = self.place / "hosts" / name
            if (host / ".ready").is_file():
                continue
            shutil.rmtree(host, ignore_errors=True)
            shutil.copytree(options.host, host, ignore=shutil.ignore_patterns(".git"))
            listed = host / "splits" / self.recipe["dataset"] / "val.txt"
            atomic_write_text(listed, (self.data / "val.txt").read_text(encoding="utf-8"))
            if name == "patched":
                _command("patch", host, "--script", options.script, "--apply")
            (host / ".ready").touch()
        for way in {ROWS[row].labels for row in options.rows} & set(LABELS):
            self._label(way)

    def _label(self, way: str) -> None:
        """Calibrate and filter as a user does; what is refused leaves its words."""
        folder = self.place / "labels" / way
        if (folder / ".ready").is_file() or (folder / "refused.txt").is_file():
            return
        maps = self.data / "maps" / self.options.scores
        calibrating, filtering = LABELS[way]
        try:
            if calibrating is not None:
                given = ["--maps", maps, "--labels", self.data / "SegmentationClass"]
                given += ["--ids", self.data / "labeled_ids.txt", "-o", folder / "calibration.json"]
                if self.options.background is not None:
                    given += ["--background", self.options.background]
                _command("calibrate", *given, *calibrating, "--quiet")
                filtering = ["--calibration", folder / "calibration.json"]
            given = ["--maps", maps, "--ids", self.data / "unlabeled_ids.txt"]
            _command("filter", *given, *filtering, "--out", folder / "png", "--quiet")
        except ConformalError as error:
            atomic_write_text(folder / "refused.txt", f"{error}\n")
        else:
            (folder / ".ready").touch()

    def usable(self) -> list[str]:
        """Rows that were asked for and whose labels were not refused."""
        return [row for row in self.options.rows if ROWS[row].labels not in self.refused()]

    def refused(self) -> dict[str, str]:
        """Ways to label that the library refuses here, and its words."""
        paths = (self.place / "labels").glob("*/refused.txt")
        words = {path.parent.name: path.read_text(encoding="utf-8").strip() for path in paths}
        if not has_all_masks(self.options.data):
            words[TRUTH] = "not every unlabelled photo has a mask"
        return words

    def run(self, row: str, seed: int) -> HostRun:
        """The run of a row and a seed."""
        asked = ROWS[row]
        labelled = "labeled_repeated.txt" if asked.repeated else "labeled.txt"
        config = {**self.recipe, "data_root": str(self.data.resolve())}
        if asked.labels is not None:
            labels = self.place / "labels" / asked.labels
            truth = asked.labels == TRUTH
            png = self.data / "SegmentationClass" if truth else labels / "png"
            calibration = labels / "calibration.json"
            config["conformal"] = {
                "pseudo_labels": str(png.resolve()),
                "stage1_epochs": round(asked.stage1 * self.recipe["epochs"]),
                "mode": asked.mode,
                "calibration": str(calibration.resolve()) if calibration.is_file() else None,
            }
        return HostRun(
            folder=(self.place / "runs" / f"{row}-{seed}").resolve(),
            host=self.place.resolve() / "hosts" / ("plain" if asked.labels is None else "patched"),
            script=asked.script or self.options.script,
            config=config,
            lists=(self.data.resolve() / labelled, self.data.resolve() / "unlabeled.txt"),
            seed=seed,
        )

    def read(self) -> list[Line]:
        """A line for each epoch of each run, see :data:`host_table.COLUMNS`."""
        options = self.options
        found = []
        for row in ROWS:
            for seed in range(options.seeds):
                result = self.run(row, seed).result()
                for number, epoch in {} if result is None else result["epochs"].items():
                    classes = options.classes or list(map(int, epoch["iou"]))
                    found.append(
                        Line(
                            bed=options.data.name,
                            labelled=options.labelled or "all",
                            scores=options.scores,
                            script=options.script,
                            row=row,
                            seed=seed,
                            epoch=int(number),
                            miou=statistics.fmean(epoch["iou"][str(one)] for one in classes),
                            mask_ratio=epoch.get("mask_ratio"),
                            processor_seconds=result["processor_seconds"],
                        )
                    )
        return found

    def write_csv(self) -> list[Line]:
        """All that is known, also to ``results.csv``."""
        lines = self.read()
        if lines:
            write_csv(lines, self.place / "results.csv")
        return lines


def _command(*words: object) -> None:
    """One of the command's own, as in a shell; what it says at an error is the error's text."""
    print(f"conformal-plugin {words[0]} ...", file=sys.stderr, flush=True)
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = conformal_plugin([str(word) for word in words])
    if code:
        raise ConformalError(said.getvalue().strip())
    print(said.getvalue(), end="", file=sys.stderr)


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
        "--side", type=int, default=152, help="pixels of a photo's longer side (default: 152)"
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
