"""What can be typed after ``conformal-plugin rehearse``. Imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from conformal_plugin.cli._group_arguments import add_groups
from conformal_plugin.cli._shared_arguments import (
    add_follow_exif,
    add_ids,
    add_ignore_index,
    add_labels,
    add_output,
    add_photos,
)

__all__ = ["DESCRIPTION", "EXAMPLES", "LITE", "SUMMARY", "add_options"]

SUMMARY = "do the pseudo-labels help a student?"

LITE = "efficientnet-lite0"

DESCRIPTION = """\
Train small students with the pseudo-labels and without, in a minute or two, and compare them on
labelled photos that they have not seen: whether labels help depends on what the labelled photos
teach already, which no look at the labels tells. Heuristic; docs/choosing.md says what it foretold.
"""

EXAMPLES = """\
examples:
  conformal-plugin rehearse --photos JPEGImages --labels SegmentationClass --ids labelled.txt \\
      --pseudo-labels pseudo_labels
  # with the encoder that you train: `encode(photo)`, (H, W, 3) uint8 to (C, h, w), in mymodel.py
  conformal-plugin rehearse --photos JPEGImages --labels SegmentationClass --ids labelled.txt \\
      --pseudo-labels pseudo_labels --encoder mymodel:encode
  # frames of a video are seen or left out together
  conformal-plugin rehearse --photos frames --labels masks --ids labelled.txt \\
      --pseudo-labels pseudo_labels --group-by 'seq(\\d+)' -o rehearsal.json
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``rehearse``."""
    group = parser.add_argument_group("images")
    add_photos(group)
    add_ids(group, "all files in --labels")
    add_labels(parser)
    group.add_argument(
        "--pseudo-labels",
        type=Path,
        required=True,
        metavar="DIR",
        help="labels of unlabelled photos: what `filter` wrote, or ID.png of any other origin",
    )
    group.add_argument(
        "--unlabelled",
        type=Path,
        metavar="LIST",
        help="text file of the unlabelled photos (default: all labels in --pseudo-labels); "
        "labelled ones are left out",
    )
    add_follow_exif(group)
    rehearsal = parser.add_argument_group("rehearsal")
    rehearsal.add_argument(
        "--encoder",
        default=LITE,
        metavar="MODULE:FUNCTION",
        help="function of yours that makes features (C, h, w) of a photo (H, W, 3) uint8 (default: "
        "%(default)s with ImageNet weights, of the extra `pretrained`)",
    )
    rehearsal.add_argument(
        "--device",
        default="cpu",
        metavar="NAME",
        help=f"where {LITE} runs: cpu, cuda:0, ... (default: %(default)s)",
    )
    for name, default, what in (
        ("long-side", 512, "shrink photos whose longer side has more pixels"),
        ("most-unlabelled", 500, "look at so many unlabelled photos, drawn at random"),
        ("folds", 5, "parts of the labelled photos, each left out once"),
        ("deals", 3, "how often they are dealt to these parts"),
        ("seed", 0, "of the students and of what is drawn"),
    ):
        rehearsal.add_argument(
            f"--{name}", type=int, default=default, metavar="N", help=f"{what} (default: {default})"
        )
    rehearsal.add_argument(
        "--classes",
        type=int,
        nargs="+",
        metavar="CLASS",
        help="take the mIoU over these (default: those that five labelled photos hold)",
    )
    rehearsal.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write the outcome as JSON"
    )
    add_groups(parser)
    add_ignore_index(parser, "255")
    add_output(parser)
