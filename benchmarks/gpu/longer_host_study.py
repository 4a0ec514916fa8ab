"""The main rows of the host study at as many epochs as fit into one call of a few minutes."""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import subprocess
import sys
import time
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
    runs = len(options.rows) * options.seeds
    planned = options.out / "config.yaml"
    if planned.is_file():  # an earlier call was cut by time
        epochs = yaml.safe_load(planned.read_text(encoding="utf-8"))["epochs"]
    else:
        one, two = (_longest(options, passed_on, recipe, number, until) for number in (1, 2))
        seconds = (until - time.monotonic() - RESERVE) / math.ceil(runs / options.jobs)
        epochs = epochs_that_fit(one, two, seconds, options.epochs)
    print(f"{runs} runs of {epochs} epochs, {options.jobs} at a time", file=sys.stderr)
    whole = _done_by(_study(options, passed_on, options.out, recipe | {"epochs": epochs}), until)
    if not whole:
        print("Cut by time, the same command goes on. Runs that were finished:", file=sys.stderr)
    shown = [options.out, "--csv", options.out / "host_study.csv"]
    shown += ["--figure", options.out / "host_study.svg"]
    table = [sys.executable, EXAMPLES / "host_table.py", *shown]
    return subprocess.run([str(word) for word in table], check=False).returncode or int(not whole)


def epochs_that_fit(one: float, two: float, seconds: float, most: int) -> int:
    """How many epochs a run may have.

    Args:
        one: seconds of a run of one epoch, its start and end in it.
        two: of a run of two epochs.
        seconds: what each run may take.
        most: no more epochs than these.

    Raises:
        ConformalError: not even three.
    """
    epoch = max(two - one, 0.05 * one)
    fit = min(most, int((seconds - max(one - epoch, 0.0)) / epoch))
    if fit < 3:
        raise ConformalError(
            f"no time for three epochs: runs of two took {two:.0f} s, and {max(seconds, 0):.0f} s "
            "are left for each; ask for fewer --rows or --seeds, or for more --jobs"
        )
    return fit


def _longest(
    options: argparse.Namespace,
    passed_on: list[str],
    recipe: dict[str, object],
    epochs: int,
    until: float,
) -> float:
    """Seconds of the longest run where all have so many epochs, as many at a time as later."""
    out = options.out / f"trial-{epochs}"
    data = options.out / "data"
    data.mkdir(parents=True, exist_ok=True)
    out.mkdir(exist_ok=True)
    if not (out / "data").exists():
        (out / "data").symlink_to(data.resolve(), target_is_directory=True)
    if not _done_by(_study(options, passed_on, out, recipe | {"epochs": epochs}), until):
        raise ConformalError("the trials were not done in time; ask for fewer --rows or --seeds")
    walls = [
        json.loads(path.read_text(encoding="utf-8"))["wall_seconds"]
        for path in out.glob("*/runs/*/result.json")
    ]
    if not walls:
        raise ConformalError("no run of the trial was finished; their logs are named above")
    return float(max(walls))


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
