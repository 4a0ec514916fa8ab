"""What can be typed after ``conformal-plugin card``. Imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from conformal_plugin.cli._shared_arguments import add_output

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_options"]

SUMMARY = "a calibration as a folder for others"

DESCRIPTION = """\
Write a calibration, and labels that were made with it where they are named, into a folder that
others can check and use: README.md says in the form of the Hugging Face Hub what was calibrated and
what is promised, exactly or by a heuristic; conformal-plugin.json holds a digest of each file.
Photos are not part of it. The names of label files are: look at them before you share.
"""

EXAMPLES = """\
examples:
  conformal-plugin card calibration.json --names voc --maps probs --license cc-by-4.0 -o shared
  conformal-plugin card calibration.json --labels pseudo_labels -o shared
  hf upload OWNER/NAME shared . --repo-type dataset      # or Shared.push_to_hub in Python
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``card``."""
    parser.add_argument(
        "calibration", type=Path, metavar="CALIBRATION", help="what `calibrate` wrote"
    )
    parser.add_argument(
        "--labels", type=Path, metavar="DIR", help="labels that `filter` wrote with it"
    )
    parser.add_argument(
        "--maps",
        type=Path,
        metavar="DIR",
        help="the maps that were calibrated on, where `annotate` wrote them and says who made them",
    )
    parser.add_argument(
        "--names",
        metavar="LIST",
        help="the classes' names: voc, ade20k, cityscapes, coco, or a file with one class a line "
        "(default: those of --maps)",
    )
    parser.add_argument(
        "--license",
        metavar="ID",
        help="under which it is shared, as the Hub calls it: cc-by-4.0, mit, other (default: the "
        "card says that none was stated)",
    )
    parser.add_argument("--title", metavar="TEXT", help="of the card")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="DIR", help="a new folder for all of it"
    )
    add_output(parser)
