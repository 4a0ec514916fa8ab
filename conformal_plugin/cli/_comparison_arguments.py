"""Which unlabelled images the labelled ones are compared with. Imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["add_comparison"]


def add_comparison(parser: argparse.ArgumentParser) -> None:
    """Which images the calibration is meant for, and how many of them are read."""
    group = parser.add_argument_group(
        "comparison", "whether labelled and unlabelled images are exchangeable, by their maps"
    )
    group.add_argument(
        "--unlabelled",
        type=Path,
        metavar="LIST",
        help="ids of unlabelled images with maps in --maps; a permutation test then says whether "
        "the annotator's scores on them differ from those on the labelled images; precision also "
        "takes the path for how sure it is on them",
    )
    group.add_argument(
        "--unlabelled-sample",
        type=int,
        default=500,
        metavar="N",
        help="read the maps of at most so many, drawn by a hash of their ids (default: 500)",
    )
