"""What can be typed after ``conformal-plugin evaluate``. Imports nothing heavy."""

from __future__ import annotations

import argparse

from conformal_plugin.cli._shared_arguments import (
    add_ignore_index,
    add_labels,
    add_maps,
    add_output,
    add_resize,
    add_rule,
    add_threshold,
)

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_options"]

SUMMARY = "measure labels against the truth"

DESCRIPTION = """\
Measure on labelled images what a threshold keeps and what that is worth. Use images that were not
calibrated on.

Started as `torchrun --nproc-per-node N --no-python conformal-plugin evaluate ...`, N processes
share the images, and write and print what one would.
"""

EXAMPLES = """\
examples:
  conformal-plugin evaluate --maps probs --labels labels --ids held_out.txt \\
      --calibration calibration.json --classes 0 8 12 15
  # the annotator without a filter
  conformal-plugin evaluate --maps probs --labels labels --ids held_out.txt --raw
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``evaluate``."""
    add_maps(parser)
    add_labels(parser)
    threshold = add_threshold(parser)
    threshold.add_argument(
        "--raw", action="store_true", help="no filter: the most probable class of every pixel"
    )
    add_rule(parser)
    parser.add_argument(
        "--classes",
        type=int,
        nargs="+",
        metavar="CLASS",
        help="give the mIoU over these classes too",
    )
    add_resize(parser, "label")
    add_ignore_index(parser, "the calibration's, else 255")
    add_output(parser)
