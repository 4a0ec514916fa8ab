"""What can be typed after ``conformal-plugin patch``. Imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from conformal_plugin.cli._shared_arguments import add_output, add_script

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_options"]

SUMMARY = "plug the labels into a host's scripts"

DESCRIPTION = """\
Put the few lines that plug conformal labels in into the training scripts of UniMatch, UniMatch-V2,
CorrMatch or AllSpark, and of methods derived from them: those are read for the place where they
make their pseudo-labels. Prints the difference; writes nothing without --apply. Where a place is
not certain, no script is changed, and what is missing and the steps by hand are printed.
"""

EXAMPLES = """\
examples:
  conformal-plugin patch UniMatch
  conformal-plugin patch UniMatch --script unimatch.py --apply
  conformal-plugin patch UniMatch --undo
  conformal-plugin patch --print-config
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``patch``."""
    parser.add_argument(
        "host", type=Path, nargs="?", metavar="HOST_DIR", help="folder of the host's scripts"
    )
    add_script(parser)
    action = parser.add_mutually_exclusive_group()
    action.add_argument(
        "--apply", action="store_true", help="write the change, and a backup beside each script"
    )
    action.add_argument(
        "--undo", action="store_true", help="take the inserted lines out, and nothing else"
    )
    action.add_argument(
        "--print-config",
        action="store_true",
        help="print the options for the host's YAML, with every default",
    )
    add_output(parser)
