"""What can be typed after ``conformal-plugin export``. Imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from conformal_plugin._choices import TOOLS
from conformal_plugin.cli._shared_arguments import (
    add_follow_exif,
    add_ids,
    add_ignore_index,
    add_label_map,
    add_output,
    class_or_none,
)

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_options"]

SUMMARY = "labels to an annotation tool"

DESCRIPTION = """\
Write the labels of photos in the import format of an annotation tool: a mask for each class but the
background, and one called `dropped` for the pixels without a label. What nobody paints is
background. With --blank, photos go without any label: those that a calibration is to rest on, since
people who correct labels agree with them more than people who see none.

cvat: annotations.xml, CVAT for images 1.1. cvat-masks: an archive, Segmentation mask 1.1. Both come
with the labels for the task's constructor. label-studio: tasks.json and the labelling interface.
fiftyone: an ImageSegmentationDirectory. OUT/sent.json is what `conformal-plugin import` needs.
"""

EXAMPLES = """\
examples:
  conformal-plugin export --labels pseudo_labels --photos JPEGImages --names voc \\
      --ids review/for_training.txt --to cvat --out to_cvat
  # photos drawn at random, to be labelled without a look at the labels at hand
  conformal-plugin export --blank --photos JPEGImages --names voc \\
      --ids review/for_calibration.txt --to label-studio --out blank \\
      --prefix '/data/local-files/?d=JPEGImages/'
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``export``."""
    images = parser.add_argument_group("images")
    source = images.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--labels", type=Path, metavar="DIR", help="labels ID.png, as `filter` writes them"
    )
    source.add_argument("--blank", action="store_true", help="no labels")
    images.add_argument(
        "--photos", type=Path, required=True, metavar="DIR", help="photos ID.jpg or ID.png"
    )
    add_label_map(images, "they are classes")
    add_ids(images, "all labels in --labels")
    add_follow_exif(images)
    group = parser.add_argument_group("export")
    group.add_argument("--to", choices=TOOLS, required=True, help="the tool")
    group.add_argument("--out", type=Path, required=True, metavar="DIR", help="where it goes")
    group.add_argument(
        "--names",
        metavar="LIST",
        required=True,
        help="the classes' names: voc, ade20k, cityscapes, coco, or a file with one class a line",
    )
    group.add_argument(
        "--background",
        type=class_or_none,
        metavar="CLASS",
        help="class of pixels that nobody paints, or none (default: the one that is called "
        "background, else that of labels made by the foreground-first rule)",
    )
    group.add_argument(
        "--prefix",
        default="",
        metavar="URL",
        help="for label-studio: what comes before a photo's path in the address that it is loaded "
        "from",
    )
    group.add_argument("--overwrite", action="store_true", help="replace an export that is there")
    add_ignore_index(parser, "the labels', else 255")
    add_output(parser)
