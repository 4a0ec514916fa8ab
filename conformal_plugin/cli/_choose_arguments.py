"""What can be typed after ``conformal-plugin choose``. Imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from conformal_plugin._choices import ALPHAS, CLASS_ALPHAS, RULES
from conformal_plugin.cli._group_arguments import add_groups
from conformal_plugin.cli._shared_arguments import (
    add_ignore_index,
    add_labels,
    add_maps,
    add_output,
    add_own_maps,
    add_resize,
    class_or_none,
)

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_options"]

SUMMARY = "propose alpha and the rule"

DESCRIPTION = """\
Sweep thresholds, alphas and rules on the labelled images and propose one way to label. Each image
is labelled at the thresholds that the other images give, so that none is judged by itself; every
figure comes with its standard error over images. Says so when the annotator is not worth using, and
then writes no calibration. docs/choosing.md shows how to read the table.
"""

EXAMPLES = """\
examples:
  # what tells most of the true classes; mIoU over those that are not rare
  conformal-plugin choose --maps probs --labels labels --ids labelled.txt \\
      --classes 0 8 10 12 13 15 17
  # at least 95 % of the kept labels right; the calibration at the proposed alpha for `filter`
  conformal-plugin choose --maps probs --labels labels --ids labelled.txt \\
      --want-precision 0.95 -o choice.json --calibration-out calibration.json
  # at least 80 % of the pixels kept, as precise as that can be
  conformal-plugin choose --maps probs --labels labels --ids labelled.txt --want-kept 0.8
  # at least 80 % of the objects' pixels labelled right, with the most information that this allows
  conformal-plugin choose --maps probs --labels labels --ids labelled.txt --want-recall 0.8
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``choose``."""
    add_maps(parser)
    add_labels(parser)
    group = parser.add_argument_group("choice")
    wish = group.add_mutually_exclusive_group()
    wish.add_argument(
        "--want-precision",
        type=float,
        metavar="SHARE",
        help="propose the most information whose precision, less one standard error, is at least "
        "this",
    )
    wish.add_argument(
        "--want-kept",
        type=float,
        metavar="SHARE",
        help="propose the highest precision whose kept share, less one standard error, is at least "
        "this",
    )
    wish.add_argument(
        "--want-recall",
        type=float,
        metavar="SHARE",
        help="propose the most information whose recall (the share of the objects' pixels with the "
        "right label), less one standard error, is at least this (default, without a wish: the "
        "most information)",
    )
    group.add_argument(
        "--classes",
        type=int,
        nargs="+",
        metavar="CLASS",
        help="take the mIoU over these (default: all that occur; each counts alike, so leave out "
        "classes too rare to measure), and the recall over these but the background",
    )
    group.add_argument(
        "--alpha",
        type=float,
        nargs="+",
        default=list(ALPHAS),
        help=f"the grid of one threshold for all classes (default: {len(ALPHAS)} values from "
        f"{ALPHAS[0]:g} to {ALPHAS[-1]:g})",
    )
    group.add_argument(
        "--class-alpha",
        type=float,
        nargs="*",
        default=list(CLASS_ALPHAS),
        help="the grid of thresholds per class; none after it leaves these out (default: "
        f"{' '.join(f'{alpha:g}' for alpha in CLASS_ALPHAS)})",
    )
    group.add_argument(
        "--rule",
        choices=RULES,
        nargs="+",
        default=list(RULES),
        help="the rules to compare (default: all)",
    )
    group.add_argument(
        "--background",
        type=class_or_none,
        default=0,
        metavar="CLASS",
        help="background class of the foreground-first rule, and what is no object; none where no "
        "class is a background (default: 0)",
    )
    add_own_maps(group)
    group.add_argument(
        "--folds",
        type=int,
        default=100,
        metavar="N",
        help="the most folds; up to as many images each is a fold of its own (default: 100)",
    )
    group.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write the choice and its table as JSON"
    )
    group.add_argument(
        "--calibration-out",
        type=Path,
        metavar="FILE",
        help="write the calibration at the proposed alpha, for `filter`",
    )
    add_resize(parser, "label")
    add_groups(parser)
    add_ignore_index(parser, "255")
    add_output(parser)
