"""What quickstart.py and study.py share: the options of a run that trains, its start and end."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from students import PretrainedStudent
from training import STUDENTS, Recipe

from conformal_plugin.errors import ConformalError

__all__ = ["changed", "check_counts", "check_data", "exit_code", "new_parser", "prepare"]


def new_parser(
    program: str,
    description: str | None,
    examples: str,
    *,
    data: str,
    seeds: str,
    steps: str,
    out: str,
    of_photos: str = "",
) -> argparse.ArgumentParser:
    """A parser with the options of every run that trains.

    Args:
        program: file name of the command.
        description: what it does.
        examples: shown behind the options.
        data, seeds, steps: end of that option's help, which says what happens without it.
        out: what is written to ``runs/``, beside the finished trainings.
        of_photos: start of the help of options that real photos alone have.
    """
    parser = argparse.ArgumentParser(
        prog=program,
        description=description,
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help=f"folder with photos, labels, probs and lists{data}",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs") / Path(program).stem,
        metavar="DIR",
        help=f"{out} and finished trainings (default: %(default)s)",
    )
    parser.add_argument("--seeds", type=int, metavar="N", help=f"students per row{seeds}")
    parser.add_argument(
        "--steps", type=int, metavar="N", help=f"training steps of a student{steps}"
    )
    parser.add_argument(
        "--student",
        choices=tuple(STUDENTS),
        help=f"{of_photos}ImageNet weights, or a small network (default: pretrained)",
    )
    parser.add_argument(
        "--limit",
        type=int,
        metavar="N",
        help=f"{of_photos}only the first N images of each split",
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=max(1, min(2, os.cpu_count() or 1)),
        metavar="N",
        help="students trained at a time, one core each (default: %(default)s)",
    )
    return parser


def check_data(folder: Path, parser: argparse.ArgumentParser) -> None:
    """Refuse a folder that is not there."""
    if not folder.is_dir():
        parser.error(
            f"--data {folder}: no such folder; give one with photos/, labels/, probs/ and the "
            f"lists labelled.txt, unlabelled.txt and held_out.txt"
        )


def check_counts(
    options: argparse.Namespace, parser: argparse.ArgumentParser, *, limit: int
) -> None:
    """Refuse numbers that are too small; ``limit`` images of a split are the least."""
    for name, least in (("seeds", 1), ("steps", 4), ("limit", limit), ("workers", 1)):
        value = vars(options)[name]
        if value is not None and value < least:
            parser.error(f"--{name} must be at least {least}, got {value}")


def changed(recipe: Recipe, **given: Any) -> Recipe:
    """The recipe with the values that were given: those that are not None."""
    return replace(recipe, **{name: value for name, value in given.items() if value is not None})


def prepare(recipe: Recipe) -> None:
    """Before anything is read: a core to each training, and every package that it needs."""
    # Networks this small are trained fastest one to a core: more threads wait for each other.
    torch.set_num_threads(1)
    if recipe.student == "pretrained":
        PretrainedStudent(2)  # says which package is missing


def exit_code(program: str, run: Callable[[], int]) -> int:
    """The exit code of ``run()``; what stopped it is said in a line."""
    try:
        return run()
    except ConformalError as error:
        print(f"\n{program}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\n{program}: stopped; the same command goes on from here", file=sys.stderr)
        return 130
