"""What can be typed after ``conformal-plugin report``. Imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from conformal_plugin._choices import RULES
from conformal_plugin.cli._group_arguments import add_groups
from conformal_plugin.cli._shared_arguments import (
    add_calibrated,
    add_follow_exif,
    add_ignore_index,
    add_labels,
    add_maps,
    add_output,
    add_resize,
)

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_options"]

SUMMARY = "show what a calibration keeps and claims"

DESCRIPTION = """\
Write OUT/report.html, one file that opens by double-click and loads nothing: what the calibration
claims, coverage against alpha with what chance allows, what the labels are worth, where coverage is
lost, and the best, median and worst images. Its charts lie beside it in OUT/figures as SVG and PNG;
where more classes occur than they can show, each has a page in OUT/classes.
"""

EXAMPLES = """\
examples:
  conformal-plugin report --maps probs --labels labels --ids held_out.txt \\
      --calibration calibration.json --photos JPEGImages --names voc --out report
  # two alphas side by side
  conformal-plugin report --maps probs --labels labels --ids held_out.txt \\
      --calibration calibration.json --against calibration_20.json --out report
  # and which unlabelled photos to look at first
  conformal-plugin report --maps probs --labels labels --ids held_out.txt \\
      --calibration calibration.json --photos JPEGImages --review review --out report
  # mIoU over the classes that are not rare
  conformal-plugin report --maps probs --labels labels --ids held_out.txt \\
      --calibration calibration.json --classes 0 8 12 15 --out report
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``report``."""
    add_maps(parser)
    add_labels(parser)
    group = parser.add_argument_group("report")
    add_calibrated(group)
    group.add_argument(
        "--rule",
        choices=RULES,
        help=f"how labels are picked (default: the calibration's, else {RULES[0]})",
    )
    group.add_argument(
        "--photos",
        type=Path,
        metavar="DIR",
        help="photos ID.jpg or ID.png, shown beside the labels",
    )
    add_follow_exif(group)
    group.add_argument(
        "--names",
        metavar="LIST",
        help="the classes' names: voc, ade20k, cityscapes, coco, or a file with one class a line "
        "(default: class 0, class 1, ...)",
    )
    group.add_argument(
        "--classes",
        type=int,
        nargs="+",
        metavar="CLASS",
        help="take the mIoU over these (default: all that occur)",
    )
    group.add_argument(
        "--examples",
        type=int,
        default=2,
        metavar="N",
        help="images of each kind, best, median and worst (default: 2; 0 for none)",
    )
    group.add_argument(
        "--against",
        type=Path,
        metavar="PATH",
        help="show side by side what another calibration keeps, a FILE that `calibrate` wrote, or "
        "the labels of a folder, that of `filter` for instance",
    )
    group.add_argument(
        "--review",
        type=Path,
        metavar="DIR",
        help="what `review` wrote: show the photos to look at first, too, of the same --maps",
    )
    group.add_argument(
        "--png",
        action=argparse.BooleanOptionalAction,
        help="write the charts as PNG too (default: where resvg-py is installed, else a note)",
    )
    group.add_argument("--title", default="Calibration report", help="heading of the page")
    add_groups(parser)
    add_resize(parser, "label")
    add_ignore_index(parser, "the calibration's")
    add_output(parser)
