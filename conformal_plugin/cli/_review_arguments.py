"""What can be typed after ``conformal-plugin review``. Imports nothing heavy."""

from __future__ import annotations

import argparse

from conformal_plugin._choices import REVIEW_ORDERS
from conformal_plugin.cli._group_arguments import add_groups
from conformal_plugin.cli._shared_arguments import (
    add_calibrated,
    add_draw,
    add_ignore_index,
    add_maps,
    add_output,
    add_rule,
)

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_options"]

SUMMARY = "which unlabelled photos to look at first"

DESCRIPTION = """\
Rank photos by what their maps and labels look like: unsure scores, labels lost, classes that are
labelled more often than the labelled photos have them, large prediction sets. These are heuristics.
Write OUT/review.csv and OUT/review.json, and with --first the ids of the first ones as
OUT/for_training.txt. Photos that were chosen by their scores are like no others: labelled by hand
they are good to train on, and no calibration or test on them promises anything about other photos.
With --calibrate-on, photos are drawn at random before any is ranked, as OUT/for_calibration.txt: to
be labelled without a look at the labels at hand, and to be calibrated on.

What a killed run has read is not read again. Started as `torchrun --nproc-per-node N --no-python
conformal-plugin review ...`, N processes share the images, and write and print what one would.
"""

EXAMPLES = """\
examples:
  conformal-plugin review --maps probs --ids unlabelled.txt --calibration calibration.json \\
      --out review
  # the first 20 to correct, and apart from them 30 drawn at random to calibrate on
  conformal-plugin review --maps probs --ids unlabelled.txt --calibration calibration.json \\
      --first 20 --calibrate-on 30 --out review
  # those first that lose most labels
  conformal-plugin review --maps probs --calibration calibration.json --by lost --out review
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``review``."""
    add_maps(parser)
    group = parser.add_argument_group("review")
    add_calibrated(group)
    group.add_argument(
        "--by",
        choices=REVIEW_ORDERS,
        default=REVIEW_ORDERS[0],
        help="rank by one minus the highest score (unsure), pixels without a label (lost), labels "
        "in excess of the labelled photos' class shares (classes), classes in a set (sets), or the "
        "mean rank in the first three (default: %(default)s)",
    )
    group.add_argument(
        "--first", type=int, default=0, metavar="N", help="write the ids of so many to correct"
    )
    add_draw(group, "before that, ")
    add_rule(group)
    add_groups(parser)
    add_ignore_index(parser, "the calibration's")
    add_output(parser)
