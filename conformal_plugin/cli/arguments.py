"""What can be typed: the parser of every subcommand. Imports nothing heavy, so help is instant."""

from __future__ import annotations

import argparse
from pathlib import Path

from conformal_plugin import __version__
from conformal_plugin.choices import FEW, GUARANTEES, RULES, TESTS, WEIGHTINGS
from conformal_plugin.cli import annotate_arguments, choose_arguments, report_arguments

__all__ = ["build_parser"]

_EXIT_CODES = """\
exit codes:
  0    done
  2    bad usage or input; the message says what was expected, what came and what to do
  130  interrupted with Ctrl-C; run again, calibrate and filter go on where they stopped
  141  whoever read the output stopped reading, as `head` does
"""

_DESCRIPTION = """\
Calibrated pseudo-labels from an annotator's class-score maps: calibrate a threshold on a few
labelled images, filter the unlabelled ones with it, evaluate what was kept; plug the labels into a
host's training scripts, and check the run before it starts.
"""

_EXAMPLES = """\
examples:
  conformal-plugin calibrate --maps probs --labels labels --ids labelled.txt --alpha 0.2 \\
      -o calibration.json
  conformal-plugin filter --maps probs --ids unlabelled.txt --calibration calibration.json \\
      --out pseudo_labels
  conformal-plugin evaluate --maps probs --labels labels --ids held_out.txt \\
      --calibration calibration.json
  conformal-plugin patch UniMatch --apply
  conformal-plugin doctor UniMatch --config UniMatch/configs/pascal.yaml
"""

_CALIBRATE = """\
Find the threshold q-hat on labelled images, for the promise that --guarantee names. Killed or
interrupted, the same command goes on where it stopped, from OUTPUT.partial.npz, which is removed at
the end.

Started as `torchrun --nproc-per-node N --no-python conformal-plugin calibrate ...`, N processes
share the images, and write and print what one would.
"""

_CALIBRATE_EXAMPLES = """\
examples:
  conformal-plugin calibrate --maps probs --labels labels --ids labelled.txt -o calibration.json
  # several levels in one reading: calibration-0.05.json, calibration-0.1.json, ...
  conformal-plugin calibrate --maps probs --labels labels --ids labelled.txt \\
      --alpha 0.05 0.1 0.2 -o calibration.json
  # at most 5 % of the kept labels wrong, with probability 90 % over calibration sets
  conformal-plugin calibrate --maps probs --labels labels --ids labelled.txt \\
      --guarantee precision --epsilon 0.05 -o calibration.json
  # a new image's pixels covered to 90 % on average, whatever their correlation
  conformal-plugin calibrate --maps probs --labels labels --ids labelled.txt \\
      --guarantee image-level --alpha 0.1 -o calibration.json
"""

_FILTER = """\
Write one pseudo-label PNG per image (palette mode, VOC colours; 16-bit grey beyond 255 classes),
the list of them, and labels.json with the settings. Labels that are there already, made with the
same settings from the same maps, are kept, so that the same command goes on where it was killed.

Started as `torchrun --nproc-per-node N --no-python conformal-plugin filter ...`, N processes
share the images, and write and print what one would.
"""

_FILTER_EXAMPLES = """\
examples:
  conformal-plugin filter --maps probs --ids unlabelled.txt --calibration calibration.json \\
      --out pseudo_labels
  # lines PHOTO LABEL, as training code reads them
  conformal-plugin filter --maps probs --ids unlabelled.txt --qhat 0.28 --photos JPEGImages \\
      --out pseudo_labels --id-list unlabelled_pairs.txt
"""

_EVALUATE = """\
Measure on labelled images what a threshold keeps and what that is worth. Use images that were not
calibrated on.

Started as `torchrun --nproc-per-node N --no-python conformal-plugin evaluate ...`, N processes
share the images, and write and print what one would.
"""

_EVALUATE_EXAMPLES = """\
examples:
  conformal-plugin evaluate --maps probs --labels labels --ids held_out.txt \\
      --calibration calibration.json --classes 0 8 12 15
  # the annotator without a filter
  conformal-plugin evaluate --maps probs --labels labels --ids held_out.txt --raw
"""

_PATCH = """\
Put the few lines that plug conformal labels in into the training scripts of UniMatch, UniMatch-V2,
CorrMatch or AllSpark. Prints the difference; writes nothing without --apply. Where a fork differs
so that a place is not found exactly once, no script is changed and the steps by hand are printed.
"""

_PATCH_EXAMPLES = """\
examples:
  conformal-plugin patch UniMatch
  conformal-plugin patch UniMatch --script unimatch.py --apply
  conformal-plugin patch UniMatch --undo
  conformal-plugin patch --print-config
"""

_DOCTOR = """\
Check, before any GPU hour is spent, the config, the patched scripts, the id lists, photos, masks
and pseudo-labels of a run, and print each finding with its remedy. Imports nothing of the host's
and writes nothing. Relative paths in the config are taken from HOST_DIR, as the scripts take them.
Exit code 2 where a finding is an error.
"""

_DOCTOR_EXAMPLES = """\
examples:
  conformal-plugin doctor UniMatch --config UniMatch/configs/pascal.yaml
  conformal-plugin doctor UniMatch --config UniMatch/configs/pascal.yaml \\
      --labeled-id-path splits/pascal/92/labeled.txt \\
      --unlabeled-id-path splits/pascal/92/unlabeled.txt
"""


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``conformal-plugin``; ``command`` in its result names the subcommand."""
    parser = argparse.ArgumentParser(
        prog="conformal-plugin",
        description=_DESCRIPTION,
        epilog=f"{_EXAMPLES}\n{_EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"conformal-plugin {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_calibrate(commands)
    _add_filter(commands)
    _add_evaluate(commands)
    _add_patch(commands)
    _add_doctor(commands)
    _add_annotate(commands)
    _add_choose(commands)
    _add_report(commands)
    return parser


def _add_annotate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "annotate",
        "from photos to score maps, or to labels",
        annotate_arguments.DESCRIPTION,
        annotate_arguments.EXAMPLES,
    )
    annotate_arguments.add_options(parser)


def _add_choose(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "choose",
        "propose alpha and the rule",
        choose_arguments.DESCRIPTION,
        choose_arguments.EXAMPLES,
    )
    _add_maps(parser)
    _add_labels(parser)
    choose_arguments.add_options(parser)
    _add_resize(parser, "label")
    _add_ignore_index(parser, "255")
    _add_output(parser)


def _add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands,
        "report",
        "show what a calibration keeps and claims",
        report_arguments.DESCRIPTION,
        report_arguments.EXAMPLES,
    )
    _add_maps(parser)
    _add_labels(parser)
    report_arguments.add_options(parser)
    _add_resize(parser, "label")
    _add_ignore_index(parser, "the calibration's")
    _add_output(parser)


def _add_calibrate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands, "calibrate", "find q-hat on labelled images", _CALIBRATE, _CALIBRATE_EXAMPLES
    )
    _add_maps(parser)
    _add_labels(parser)
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="calibration to write"
    )
    _add_resize(parser, "label")
    _add_ignore_index(parser, "255")
    _add_output(parser)
    _add_guarantee(parser)


def _add_guarantee(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        "guarantee", "what is promised, of what; docs/guarantees.md says which to choose"
    )
    group.add_argument(
        "--guarantee",
        choices=GUARANTEES,
        default=GUARANTEES[0],
        help="pixel: the paper's pooled pixels, heuristic for images (default); image-level: "
        "expected coverage of a new image, exact; image-wise: coverage of most single images, "
        "exact; class-conditional (heuristic) and class-conditional-image-level (exact): the same "
        "per class; clustered: per group of classes, exact; precision: the share of wrong labels "
        "among the kept ones, exact",
    )
    group.add_argument(
        "--alpha",
        type=float,
        nargs="+",
        help="share of pixels whose true class may be missing from the prediction set "
        "(default: 0.05); several give one file each. All but precision",
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
        help="precision: probability that the calibration images mislead (default: 0.1)",
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
        help="precision, pixel weighting: labelled pixels of the largest image (default: as seen)",
    )
    group.add_argument("--test", choices=TESTS, help=f"precision: the test (default: {TESTS[0]})")
    group.add_argument(
        "--rule",
        choices=RULES,
        help=f"precision: how labels will be picked (default: {RULES[0]}); filter then holds to it",
    )
    group.add_argument(
        "--background",
        type=int,
        metavar="CLASS",
        help="precision: background class (default: 0)",
    )


def _add_filter(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "filter", "write pseudo-labels", _FILTER, _FILTER_EXAMPLES)
    _add_maps(parser)
    _add_threshold(parser)
    _add_rule(parser)
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
    _add_resize(parser, "photo (needs --photos)")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace labels made with other settings"
    )
    _add_ignore_index(parser, "the calibration's, else 255")
    _add_output(parser)


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands, "evaluate", "measure labels against the truth", _EVALUATE, _EVALUATE_EXAMPLES
    )
    _add_maps(parser)
    _add_labels(parser)
    threshold = _add_threshold(parser)
    threshold.add_argument(
        "--raw", action="store_true", help="no filter: the most probable class of every pixel"
    )
    _add_rule(parser)
    parser.add_argument(
        "--classes",
        type=int,
        nargs="+",
        metavar="CLASS",
        help="give the mIoU over these classes too",
    )
    _add_resize(parser, "label")
    _add_ignore_index(parser, "the calibration's, else 255")
    _add_output(parser)


def _add_patch(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(
        commands, "patch", "plug the labels into a host's scripts", _PATCH, _PATCH_EXAMPLES
    )
    parser.add_argument(
        "host", type=Path, nargs="?", metavar="HOST_DIR", help="folder of the host's scripts"
    )
    _add_script(parser)
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
    _add_output(parser)


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _command(commands, "doctor", "check a run before it starts", _DOCTOR, _DOCTOR_EXAMPLES)
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
    _add_script(parser)
    parser.add_argument(
        "--sample",
        type=int,
        default=200,
        metavar="N",
        help="images of each list whose content is read, drawn with a fixed seed (default: 200)",
    )
    _add_output(parser)


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    summary: str,
    description: str,
    examples: str,
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"{examples}\n{_EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _add_script(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--script",
        action="append",
        default=[],
        metavar="NAME",
        help="this script alone, also where it has a name of its own; may be given again (default: "
        "all scripts with a known name)",
    )


def _add_maps(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("images")
    group.add_argument(
        "--maps",
        type=Path,
        required=True,
        metavar="DIR",
        help="class scores (K, H, W) in [0, 1]: ID.npz, ID.npy, ID.pt or ID.safetensors",
    )
    group.add_argument(
        "--key",
        metavar="NAME",
        help="name of the array in map files that hold several (default: probs, or the only one)",
    )
    group.add_argument(
        "--ids",
        type=Path,
        metavar="LIST",
        help="text file, one id or PHOTO LABEL a line (default: all files in --maps)",
    )


def _add_labels(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--labels",
        type=Path,
        required=True,
        metavar="DIR",
        help="true classes: ID.png, pixel values being class indices (palette or grey)",
    )


def _add_threshold(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    threshold = parser.add_mutually_exclusive_group(required=True)
    threshold.add_argument(
        "--calibration", type=Path, metavar="FILE", help="what `calibrate` wrote"
    )
    threshold.add_argument(
        "--qhat", type=float, nargs="+", metavar="Q", help="threshold: one number, or one per class"
    )
    return threshold


def _add_rule(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--rule",
        choices=RULES,
        help=f"how a label is picked from a prediction set (default: the calibration's, else "
        f"{RULES[0]})",
    )
    parser.add_argument(
        "--background",
        type=int,
        metavar="CLASS",
        help="background class (default: the calibration's, else 0)",
    )


def _add_resize(parser: argparse.ArgumentParser, target: str) -> None:
    parser.add_argument(
        "--resize",
        action="store_true",
        help=f"resize maps of another size than the {target} bilinearly instead of refusing them",
    )


def _add_ignore_index(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument(
        "--ignore-index",
        type=int,
        metavar="LABEL",
        help=f"label of pixels without a class (default: {default})",
    )


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no notes")
