"""What can be typed after ``conformal-plugin plan``. Imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from conformal_plugin._choices import RULES
from conformal_plugin.cli._group_arguments import add_groups
from conformal_plugin.cli._shared_arguments import (
    add_draw,
    add_ids,
    add_ignore_index,
    add_label_map,
    add_map_names,
    add_output,
    add_resize,
)

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_options"]

SUMMARY = "how many images to label, and which"

DESCRIPTION = """\
Say how many labelled images a promise takes and, with --maps, --labels and --ids of images that are
labelled already, what more of them would probably certify. With --unlabelled, draw the photos to
label next: at random for calibration, since a promise holds for images that are drawn whatever
their scores are; and, apart from them, those that the annotator is least sure of, to train on and
never to calibrate on.
"""

EXAMPLES = """\
examples:
  conformal-plugin plan --alpha 0.05 --epsilon 0.05 0.1
  # with 30 labelled photos: would 100 do for epsilon 0.1?
  conformal-plugin plan --epsilon 0.1 --maps probs --labels labels --ids labelled.txt
  # 50 photos to calibrate on and the 20 least sure ones to train on
  conformal-plugin plan --maps probs --unlabelled unlabelled.txt --calibrate-on 50 --train-on 20 \\
      --out to_label
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``plan``."""
    wish = parser.add_argument_group("promise")
    wish.add_argument(
        "--alpha",
        type=float,
        nargs="+",
        help="for coverage per image (default: 0.05)",
    )
    wish.add_argument(
        "--epsilon", type=float, nargs="+", help="for precision (default: 0.05 and 0.1)"
    )
    wish.add_argument(
        "--delta", type=float, default=0.1, help="for precision (default: %(default)s)"
    )
    wish.add_argument(
        "--rule", choices=RULES, default=RULES[0], help="for precision (default: %(default)s)"
    )
    wish.add_argument(
        "--background", type=int, default=0, metavar="CLASS", help="background class (default: 0)"
    )
    images = parser.add_argument_group("images")
    images.add_argument("--maps", type=Path, metavar="DIR", help="class scores of all photos")
    add_map_names(images)
    images.add_argument(
        "--labels", type=Path, metavar="DIR", help="true classes of the photos of --ids"
    )
    add_label_map(images, "they are classes")
    add_ids(images, "none: no photo is labelled yet")
    choice = parser.add_argument_group("photos to label next")
    choice.add_argument(
        "--unlabelled", type=Path, metavar="LIST", help="ids of the photos that may be labelled"
    )
    add_draw(choice)
    choice.add_argument(
        "--train-on",
        type=int,
        default=0,
        metavar="N",
        help="of the others, choose so many whose maps are least sure",
    )
    choice.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write for_calibration.txt and for_training.txt there",
    )
    add_groups(parser)
    add_resize(parser, "label")
    add_ignore_index(parser, "255")
    add_output(parser)
