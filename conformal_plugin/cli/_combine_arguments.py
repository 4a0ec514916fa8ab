"""What can be typed after ``conformal-plugin combine``. Imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from conformal_plugin.cli._shared_arguments import (
    add_ids,
    add_label_map,
    add_output,
)

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_options"]

SUMMARY = "several annotators' maps of the same photos become one"

DESCRIPTION = """\
Combine the score maps that several annotators gave of the same photos, into a store that every
other command reads. The mean is fixed before any image is looked at. The other rules are fitted on
labelled images, which the store lists: `calibrate` and `choose` leave them out, or refuse them
where --ids names them, so that what is promised on the others stays exact.

Maps that are there already, combined from the same files, are kept: killed at any moment, the same
command goes on where it stopped. Started as `torchrun --nproc-per-node N --no-python
conformal-plugin combine ...`, N processes share the images.
"""

EXAMPLES = """\
examples:
  # the mean of two annotators
  conformal-plugin combine --maps maps_sam3 maps_mask2former --out maps_mean
  # for each class the better of the two on 40 labelled images; calibrate on the other labelled ones
  conformal-plugin combine --maps maps_sam3 maps_mask2former --rule pick --fit-ids first_40.txt \\
      --labels labels --out maps_pick
  # for each class an annotator with at most a fifth of its labels wrong, where that is certain
  conformal-plugin combine --maps maps_sam3 maps_mask2former --rule route --epsilon 0.2 \\
      --fit-ids first_40.txt --labels labels --out maps_route
  # a weight for each annotator and an offset for each class
  conformal-plugin combine --maps maps_sam3 maps_mask2former --rule stack --fit-ids first_40.txt \\
      --labels labels --out maps_stack
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``combine``."""
    group = parser.add_argument_group("images")
    group.add_argument(
        "--maps",
        type=Path,
        nargs="+",
        required=True,
        metavar="DIR",
        help="two or more folders of maps, as `annotate` wrote them or ID.npz, ID.npy, ...",
    )
    group.add_argument(
        "--key",
        metavar="NAME",
        help="name of the array in map files that hold several (default: probs, or the only one)",
    )
    add_ids(group, "all files in the first of --maps")
    group = parser.add_argument_group("rule")
    group.add_argument(
        "--rule",
        choices=("mean", "pick", "route", "stack"),
        default="mean",
        help="mean: of the scores; pick: for each class the scores of one annotator, of the higher "
        "IoU on --fit-ids; route: for each class those of an annotator whose labels are certified "
        "on --fit-ids to be wrong at most a share --epsilon, else as pick; stack: log-linear, one "
        "weight an annotator and one offset a class, fitted on --fit-ids (default: %(default)s)",
    )
    for name, what in (
        ("epsilon", "share of wrong labels that is certified"),
        ("delta", "how often the certificate of a class may be wrong"),
    ):
        group.add_argument(
            f"--{name}", type=float, metavar="SHARE", help=f"route: {what} (default: 0.1)"
        )
    group.add_argument(
        "--fit-ids",
        type=Path,
        metavar="LIST",
        help="pick, route, stack: the labelled images to fit on",
    )
    group.add_argument(
        "--labels", type=Path, metavar="DIR", help="pick, route, stack: true classes, ID.png"
    )
    add_label_map(group, "values are classes")
    group.add_argument(
        "--ignore-index",
        type=int,
        metavar="LABEL",
        help="label of pixels without a class (default: 255)",
    )
    group = parser.add_argument_group("results")
    group.add_argument("--out", type=Path, required=True, metavar="DIR", help="the store to write")
    group.add_argument(
        "--precision",
        type=int,
        choices=(8, 9, 10, 11, 16),
        default=11,
        help="bits of a kept score, as for `annotate` (default: %(default)s)",
    )
    add_output(parser)
