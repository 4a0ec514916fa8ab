"""What can be typed after ``conformal-plugin calibrate``. Imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from conformal_plugin._choices import FEW, GUARANTEES, OF, PRESETS, RULES, TESTS, WEIGHTINGS
from conformal_plugin.cli._comparison_arguments import add_comparison
from conformal_plugin.cli._group_arguments import add_groups
from conformal_plugin.cli._shared_arguments import (
    add_ignore_index,
    add_labels,
    add_maps,
    add_output,
    add_own_maps,
    add_resize,
    class_or_none,
)

__all__ = ["DESCRIPTION", "EXAMPLES", "SUMMARY", "add_options"]

SUMMARY = "find q-hat on labelled images"

DESCRIPTION = """\
Find the thresholds on labelled images: those that the images support where nothing is asked for,
or those of the promise that --guarantee names. Killed or interrupted, the same command goes on
where it stopped, from OUTPUT.partial.npz, which is removed at the end.

Started as `torchrun --nproc-per-node N --no-python conformal-plugin calibrate ...`, N processes
share the images, and write and print what one would.
"""

EXAMPLES = """\
examples:
  # what the labelled images support: thresholds, alpha and rule, or a word against the annotator
  conformal-plugin calibrate --maps probs --labels labels --ids labelled.txt -o calibration.json
  # as the paper does, whatever the images say
  conformal-plugin calibrate --maps probs --labels labels --ids labelled.txt --preset paper \\
      -o calibration.json
  # several levels in one reading: calibration-0.05.json, calibration-0.1.json, ...
  conformal-plugin calibrate --maps probs --labels labels --ids labelled.txt \\
      --alpha 0.05 0.1 0.2 -o calibration.json
  # at most 5 % of the kept labels wrong, with probability 90 % over calibration sets
  conformal-plugin calibrate --maps probs --labels labels --ids labelled.txt \\
      --guarantee precision --epsilon 0.05 -o calibration.json
  # a new image's pixels covered to 90 % on average, whatever their correlation
  conformal-plugin calibrate --maps probs --labels labels --ids labelled.txt \\
      --guarantee image-level --alpha 0.1 -o calibration.json
  # label some, look, label more if that was not enough, and look again
  conformal-plugin calibrate --maps probs --labels labels --ids labelled.txt \\
      --guarantee precision --epsilon 0.1 --planned 100 --looks looks.json -o calibration.json
  # image level for frames of videos seq01/0001, seq01/0002, ...: per video
  conformal-plugin calibrate --maps probs --labels labels --ids labelled.txt \\
      --guarantee image-level --alpha 0.1 --group-by 'seq(\\d+)' -o calibration.json
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``calibrate``."""
    add_maps(parser)
    add_labels(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="calibration to write"
    )
    add_resize(parser, "label")
    add_ignore_index(parser, "255")
    add_output(parser)
    _add_decision(parser)
    _add_guarantee(parser)
    add_groups(parser)
    add_comparison(parser)


def _add_decision(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "decision",
        "without --preset and without any option of the guarantee, thresholds, rule and alpha are "
        "those that the labelled images support, as `choose` proposes them, and where they speak "
        "against the annotator nothing is written; docs/choosing.md",
    )
    group.add_argument(
        "--preset", choices=PRESETS, help="paper: alpha 0.05 with foreground-first, as ConformalSAM"
    )
    group.add_argument(
        "--classes",
        type=int,
        nargs="+",
        metavar="CLASS",
        help="decide by these (default: all that occur; leave out classes too rare to measure)",
    )
    add_own_maps(group)


def _add_guarantee(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "guarantee", "what is promised, of what; docs/guarantees.md says which to choose"
    )
    group.add_argument(
        "--guarantee",
        choices=GUARANTEES,
        help="pixel: the paper's pooled pixels, heuristic for images (default where --alpha or "
        "--rule is given); image-level: "
        "expected coverage of a new image, exact; image-wise: coverage of most single images, "
        "exact; confidence: as image-level, not on average over calibrations but with probability "
        "1 - delta of this one, exact; class-conditional (heuristic) and "
        "class-conditional-image-level (exact): the same per class; clustered: per group of "
        "classes, exact; precision: the share of wrong labels among the kept ones, exact",
    )
    group.add_argument(
        "--alpha",
        type=float,
        nargs="+",
        help="share of pixels whose true class may be missing from the prediction set "
        "(default where --guarantee or --rule is given: 0.05); several give one file each. All but "
        "precision",
    )
    group.add_argument(
        "--tau",
        type=float,
        metavar="SHARE",
        help="image-wise: share of an image's pixels to cover (default: 0.9)",
    )
    group.add_argument(
        "--few",
        choices=FEW,
        help="class-conditional ones: what becomes of classes that too few images hold "
        f"(default: {FEW[0]})",
    )
    group.add_argument(
        "--min-images",
        type=int,
        metavar="N",
        help="class-conditional: how many images are enough (default: 1 / alpha - 1)",
    )
    group.add_argument(
        "--cluster-ids",
        type=Path,
        metavar="LIST",
        help="clustered: labelled images to group the classes on, none of them in --ids",
    )
    group.add_argument(
        "--clusters", type=int, metavar="N", help="clustered: number of groups of classes"
    )
    group.add_argument(
        "--epsilon",
        type=float,
        nargs="+",
        help="precision: share of kept labels that may be wrong; several give one file each",
    )
    group.add_argument(
        "--delta",
        type=float,
        help="confidence and precision: probability that the calibration images mislead (default: "
        "0.1)",
    )
    group.add_argument(
        "--of",
        choices=OF,
        help="precision: the labels that the promise is about, all (default) or those of the "
        "foreground alone, which takes more images or a larger epsilon",
    )
    group.add_argument(
        "--unlabelled-images",
        type=int,
        metavar="N",
        help="precision: promise it for the N unlabelled images at hand, all of them, from which "
        "the labelled ones were drawn at random (default: for the population of images)",
    )
    group.add_argument(
        "--weighting",
        choices=WEIGHTINGS,
        help="precision: share: all images count alike (default); pixel: all pixels count alike; "
        "macro: the mean of each image's own share",
    )
    group.add_argument(
        "--max-pixels",
        type=int,
        metavar="N",
        help="precision, pixel weighting: labelled pixels of the largest image there can be "
        "(default: the largest seen, and the promise is then a heuristic)",
    )
    group.add_argument(
        "--planned",
        type=int,
        metavar="N",
        help="precision, for growing sets: about how many images there will be; with --looks",
    )
    group.add_argument(
        "--looks",
        type=Path,
        metavar="FILE",
        help="precision: label more images, add them to --ids and run the same command again; this "
        "file remembers which images each look saw, and the promise holds for all looks together",
    )
    group.add_argument("--test", choices=TESTS, help=f"precision: the test (default: {TESTS[0]})")
    group.add_argument(
        "--rule",
        choices=RULES,
        help="how labels will be picked, written into the calibration: filter then holds to it "
        f"(default of precision: {RULES[0]}; of the others none, and filter takes {RULES[0]})",
    )
    group.add_argument(
        "--background",
        type=class_or_none,
        metavar="CLASS",
        help="background class, written with the rule; none where no class is one (default: 0)",
    )
