"""What can be typed after ``conformal-plugin filter``. Imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from conformal_plugin.cli._shared_arguments import (
    add_follow_exif,
    add_ignore_index,
    add_label_style,
    add_maps,
    add_output,
    add_resize,
    add_rule,
    add_threshold,
)

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_options"]

SUMMARY = "write pseudo-labels"

DESCRIPTION = """\
Write one pseudo-label PNG per image (palette mode, VOC colours, or grey with --grey; 16-bit grey
beyond 255 classes), the list of them, and labels.json with the settings. Labels that are there
already, made with the same settings from the same maps, are kept, so that the same command goes on
where it was killed. A map that cannot be used does not keep the others from their labels: all such
are named at the end, more than ten in unusable.tsv beside the labels, and the exit code is 2.

Started as `torchrun --nproc-per-node N --no-python conformal-plugin filter ...`, N processes
share the images, and write and print what one would.
"""

EXAMPLES = """\
examples:
  conformal-plugin filter --maps probs --ids unlabelled.txt --calibration calibration.json \\
      --out pseudo_labels
  # the annotator's own labels, the row that everything is compared with
  conformal-plugin filter --maps probs --ids unlabelled.txt --raw --out raw_labels
  # lines PHOTO LABEL, as training code reads them
  conformal-plugin filter --maps probs --ids unlabelled.txt --qhat 0.28 --photos JPEGImages \\
      --out pseudo_labels --id-list unlabelled_pairs.txt
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``filter``."""
    add_maps(parser)
    threshold = add_threshold(parser)
    threshold.add_argument(
        "--raw",
        action="store_true",
        help="no threshold: each pixel's most probable class (argmax), to compare with",
    )
    add_rule(parser)
    parser.add_argument(
        "--thin",
        action="store_true",
        help="let labels stay at random, the less typical of their class the more rarely: weights "
        "of the loss as plain labels (heuristic; takes a calibration made without --alpha)",
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where labels go")
    parser.add_argument(
        "--photos",
        type=Path,
        metavar="DIR",
        help="photos ID.jpg or ID.png: sizes are compared, and the list gets lines PHOTO LABEL",
    )
    parser.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="what the paths in lines PHOTO LABEL are relative to, the training code's data root "
        "(default: the deepest folder that holds photos and labels)",
    )
    parser.add_argument(
        "--id-list",
        type=Path,
        metavar="FILE",
        help="list to write (default: pseudo_labels.txt in the folder of --out)",
    )
    add_follow_exif(parser)
    add_resize(parser, "photo (needs --photos)")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace labels made with other settings"
    )
    parser.add_argument(
        "--verify",
        action="store_true",
        help="read the labels that are there and their maps again, and make those anew that are "
        "damaged or whose map holds other scores than were read for them (sizes and times of the "
        "files tell this without)",
    )
    add_label_style(parser)
    add_ignore_index(parser, "the calibration's, else 255")
    add_output(parser)
