"""What can be typed after ``conformal-plugin doctor``. Imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from conformal_plugin.cli._shared_arguments import add_label_map, add_output, add_script

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_options"]

SUMMARY = "check a run before it starts"

DESCRIPTION = """\
Check, before any GPU hour is spent, the config, the patched scripts, the id lists, photos, masks
and pseudo-labels of a run, and print each finding with its remedy. Imports nothing of the host's
and writes nothing. Relative paths in the config are taken from HOST_DIR, as the scripts take them.
Exit code 2 where a finding is an error.
"""

EXAMPLES = """\
examples:
  conformal-plugin doctor UniMatch --config UniMatch/configs/pascal.yaml
  conformal-plugin doctor UniMatch --config UniMatch/configs/pascal.yaml \\
      --labeled-id-path splits/pascal/92/labeled.txt \\
      --unlabeled-id-path splits/pascal/92/unlabeled.txt
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``doctor``."""
    parser.add_argument("host", type=Path, metavar="HOST_DIR", help="folder of the host's scripts")
    parser.add_argument(
        "--config", type=Path, required=True, metavar="YAML", help="the host's config of the run"
    )
    parser.add_argument(
        "--labeled-id-path",
        type=Path,
        metavar="LIST",
        help="as given to the host's script: lines IMAGE MASK (default: not checked)",
    )
    parser.add_argument(
        "--unlabeled-id-path", type=Path, metavar="LIST", help="as given to the host's script"
    )
    add_label_map(parser, "the host trains on what its masks hold")
    add_script(parser)
    parser.add_argument(
        "--sample",
        type=int,
        default=200,
        metavar="N",
        help="images of each list whose content is read, drawn with a fixed seed (default: 200)",
    )
    add_output(parser)
