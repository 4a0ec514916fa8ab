"""What can be typed after ``conformal-plugin import``. Imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from conformal_plugin._choices import TOOLS
from conformal_plugin.cli._shared_arguments import add_output

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_options"]

SUMMARY = "corrected labels from an annotation tool"

DESCRIPTION = """\
Write the photos that came back from a tool as labels ID.png, and lists of them. A photo is taken
where a person is done with it: in CVAT for images it has the tag `checked`, in Label Studio an
annotation was submitted; for the other formats --ids says which. One with `dropped` pixels left is
not done, and left out; `unsure` pixels become the ignore index.

OUT/for_training.txt has the photos that were chosen by their scores. OUT/for_calibration.txt has
those of --drawn, which were drawn at random, once all of them are back: before that, those that are
done first would be like no others.
"""

EXAMPLES = """\
examples:
  conformal-plugin import --export to_cvat --file job.zip --out corrected
  conformal-plugin import --export blank --file project.json --drawn review/for_calibration.txt \\
      --out corrected
  # Segmentation mask 1.1 has no place for a mark
  conformal-plugin import --export to_cvat --from cvat-masks --file masks.zip --ids done.txt \\
      --out corrected
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``import``."""
    group = parser.add_argument_group("import")
    group.add_argument(
        "--export", type=Path, required=True, metavar="DIR", help="what `export` wrote"
    )
    group.add_argument(
        "--file", type=Path, required=True, metavar="PATH", help="what the tool exported"
    )
    group.add_argument(
        "--from",
        dest="tool",
        choices=TOOLS,
        help="the format of --file (default: that of the export)",
    )
    group.add_argument("--out", type=Path, required=True, metavar="DIR", help="where labels go")
    group.add_argument(
        "--ids",
        type=Path,
        metavar="LIST",
        help="the photos that a person is done with (default: those that are marked)",
    )
    group.add_argument(
        "--drawn",
        type=Path,
        metavar="LIST",
        help="the photos that were drawn at random, as `review` and `plan` write them",
    )
    group.add_argument(
        "--keep-undecided",
        action="store_true",
        help="take photos with dropped pixels left, too, to train on: these pixels are ignored",
    )
    group.add_argument(
        "--overwrite", action="store_true", help="replace labels of these photos that differ"
    )
    add_output(parser)
