"""The main rows of the host study at as many epochs as fit into one call of a few minutes."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import yaml
from host_run import end_session

from conformal_plugin._atomic import atomic_write_text
from conformal_plugin.errors import ConformalError, MissingExtraError, SourceFileError

NEEDED = {
    "torchvision": "torchvision",
    "tqdm": "tqdm",
    "tensorboard": "tensorboard",
}
EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
RESERVE = 20.0
"""Seconds of the call that no epoch is planned into."""


def main() -> int:
    options, passed_on = _parser().parse_known_args()
    try:
        return _run(options, passed_on)
    except ConformalError as error:
        print(f"host_study.sh: {error}", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace, passed_on: list[str]) -> int:
    until = time.monotonic() + 60 * options.minutes
    recipe = yaml.safe_load(options.config.read_text(encoding="utf-8"))
    if not options.as_it_is:
        _refuse_what_is_missing(options.host, recipe["backbone"])
    trial = _study(options, passed_on, options.out / "trial", recipe | {"epochs": 1})
    if not _done_by(trial, until):
        raise ConformalError("the trial of one epoch was not done in time; ask for fewer rows")
    walls = [
        json.loads(path.read_text(encoding="utf-8"))["wall_seconds"]
        for path in (options.out / "trial").glob("*/runs/*/result.json")
    ]
    if not walls:
        raise ConformalError("no run of the trial was finished; what they said is above")
    epochs = epochs_that_fit(
        walls, options.jobs, until - time.monotonic() - RESERVE, options.epochs
    )
    print(f"{len(walls)} runs of {epochs} epochs, {options.jobs} at a time", file=sys.stderr)
    whole = _done_by(_study(options, passed_on, options.out, recipe | {"epochs": epochs}), until)
    if not whole:
        print("Cut by time: what follows is of the runs that were finished.", file=sys.stderr)
    shown = [options.out, "--csv", options.out / "host_study.csv"]
    shown += ["--figure", options.out / "host_study.svg"]
    table = [sys.executable, EXAMPLES / "host_table.py", *shown]
    return subprocess.run([str(word) for word in table], check=False).returncode or int(not whole)


def epochs_that_fit(walls: Sequence[float], jobs: int, seconds: float, most: int) -> int:
    """How many epochs a run may have so that all are done in time, ``jobs`` at a time.

    Args:
        walls: seconds of each run of one epoch, its start and end in it.
        jobs: runs at a time.
        seconds: what is left.
        most: no more than these.

    Raises:
        ConformalError: not even three.
    """
    rounds = math.ceil(len(walls) / jobs)
    fit = min(most, int(seconds / (rounds * max(walls))))
    if fit < 3:
        raise ConformalError(
            f"{len(walls)} runs, {jobs} at a time, have no time for three epochs each: one takes "
            f"{max(walls):.0f} s, and {max(seconds, 0):.0f} s are left; ask for fewer --rows or "
            "--seeds"
        )
    return fit


def _refuse_what_is_missing(host: Path, backbone: str) -> None:
    missing = [name for module, name in NEEDED.items() if not importlib.util.find_spec(module)]
    if missing:
        raise MissingExtraError(f"the host's scripts need {', '.join(missing)}: hand them over")
    weights = host / "pretrained" / f"{backbone}.pth"
    if not weights.is_file():
        raise SourceFileError(
            f"expected the weights of the host's backbone at {weights}, but there is no such file: "
            "put it there, as the host's README says, or name another backbone in --config"
        )


def _study(
    options: argparse.Namespace, passed_on: list[str], out: Path, recipe: dict[str, object]
) -> list[str]:
    """The command of the host study with a recipe."""
    config = out / "config.yaml"
    atomic_write_text(config, yaml.safe_dump(recipe, sort_keys=False))
    words = [sys.executable, EXAMPLES / "host_study.py", "--host", options.host]
    words += ["--out", out, "--config", config, "--jobs", options.jobs]
    words += ["--runner", options.runner, "--rows", *options.rows, "--seeds", options.seeds]
    return [*map(str, words), *passed_on]


def _done_by(command: list[str], until: float) -> bool:
    """Run a command, and end it with all that it has started when its time is over."""
    process = subprocess.Popen(command, start_new_session=True)
    try:
        process.wait(max(0.0, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    finally:
        end_session(process)
    return True


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="host_study.sh",
        description=__doc__,
        epilog="All other options are those of examples/host_study.py, such as --data.",
    )
    parser.add_argument("--host", type=Path, required=True, metavar="DIR", help="a clone")
    parser.add_argument("--out", type=Path, default=Path("runs/gpu_host_study"), metavar="DIR")
    parser.add_argument(
        "--config",
        type=Path,
        default=EXAMPLES / "host_study.yaml",
        metavar="YAML",
        help="the host's recipe; its epochs are replaced (default: that of the study on a CPU)",
    )
    parser.add_argument("--epochs", type=int, default=60, metavar="N", help="at most (default: 60)")
    parser.add_argument("--minutes", type=float, default=7.5, metavar="M", help="(default: 7.5)")
    parser.add_argument(
        "--jobs", type=int, default=6, metavar="N", help="runs at a time (default: 6)"
    )
    parser.add_argument(
        "--rows",
        nargs="+",
        default=["supervised", "host", "default", "ceiling"],
        help="(default: labels only, alone, with the plug-in, true masks)",
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="(default: 3)")
    parser.add_argument(
        "--runner",
        default="torchrun --standalone --nproc_per_node 1 {host}/{script}",
        help="how a script is started (default: %(default)s)",
    )
    parser.add_argument(
        "--as-it-is", action="store_true", help="do not look for packages and weights"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
