"""How a command is told which images belong together. Imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_groups"]


def add_groups(parser: argparse.ArgumentParser) -> None:
    """Which images are of one video, patient or scene."""
    group = parser.add_argument_group(
        "groups",
        "images of one video, patient or scene are alike, and the group is then what is "
        "exchangeable, not the image; docs/guarantees.md says what is promised",
    ).add_mutually_exclusive_group()
    group.add_argument(
        "--groups",
        type=Path,
        metavar="FILE",
        help="text file, one line ID <tab> GROUP for each image",
    )
    group.add_argument(
        "--group-by",
        metavar="PATTERN",
        help="regular expression that is searched in the id, what is in its brackets being the "
        "group: 'seq(\\d+)'; or the word folder, for the folder of the id",
    )
