"""Options that several subcommands have. Imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from conformal_plugin._choices import RULES
from conformal_plugin.files import LARGEST_MAP_BYTES

__all__ = [
    "add_calibrated",
    "add_draw",
    "add_follow_exif",
    "add_ids",
    "add_ignore_index",
    "add_label_map",
    "add_label_style",
    "add_labels",
    "add_map_names",
    "add_maps",
    "add_output",
    "add_own_maps",
    "add_photos",
    "add_reader",
    "add_resize",
    "add_rule",
    "add_script",
    "add_threshold",
    "class_or_none",
]


def add_script(parser: argparse.ArgumentParser) -> None:
    """Which script of a host."""
    parser.add_argument(
        "--script",
        action="append",
        default=[],
        metavar="NAME",
        help="this script alone, also where it has a name of its own; may be given again (default: "
        "all scripts with a known name)",
    )


def add_maps(parser: argparse.ArgumentParser) -> None:
    """Where the maps lie, and which of them are meant."""
    group = parser.add_argument_group("images")
    group.add_argument(
        "--maps",
        type=Path,
        required=True,
        metavar="DIR",
        help="class scores in [0, 1], (K, H, W), or (K, D, H, W) of volumes: ID.npz, .npy, .pt, "
        ".safetensors, .h5, .nii.gz, .tif",
    )
    add_map_names(group)
    add_ids(group, "all files in --maps")


def add_photos(group: argparse._ActionsContainer) -> None:
    """Where the photos lie."""
    group.add_argument(
        "--photos", type=Path, required=True, metavar="DIR", help="photos ID.jpg or ID.png"
    )


def add_map_names(group: argparse._ArgumentGroup) -> None:
    """How map files, and the arrays in them, are called."""
    group.add_argument(
        "--key",
        metavar="NAME",
        help="name of the array in map files that hold several (default: probs, or the only one)",
    )
    group.add_argument(
        "--map-suffix",
        metavar="TEXT",
        help="how the names of maps end before the extension, _probs for instance",
    )


def add_ids(group: argparse._ArgumentGroup, default: str) -> None:
    """Which images are meant."""
    group.add_argument(
        "--max-map-bytes",
        type=int,
        default=LARGEST_MAP_BYTES,
        metavar="N",
        help="refuse maps that take more memory than this (default: %(default)s)",
    )
    group.add_argument(
        "--max-image-pixels",
        type=int,
        metavar="N",
        help="refuse PNGs of more pixels than this (default: 178956970, as Pillow)",
    )
    add_reader(group)
    group.add_argument(
        "--ids",
        type=Path,
        metavar="LIST",
        help=f"text file, one id or PHOTO LABEL a line (default: {default})",
    )
    for what, example in (("photo", "_leftImg8bit"), ("label", "_gtFine_labelTrainIds or _mask")):
        group.add_argument(
            f"--{what}-suffix",
            metavar="TEXT",
            help=f"how the names of {what}s end before the extension, {example} for instance "
            f"(default: as the id, or an ending that is known)",
        )


def add_reader(group: argparse._ActionsContainer) -> None:
    """Functions that read files of any other format."""
    group.add_argument(
        "--reader",
        action="append",
        metavar="MODULE:FUNCTION",
        help="function of yours (path, what) -> array that reads files of the suffixes in its "
        "attribute `suffixes`; may be given again",
    )


def add_labels(parser: argparse.ArgumentParser) -> None:
    """Where the true classes lie."""
    parser.add_argument(
        "--labels",
        type=Path,
        required=True,
        metavar="DIR",
        help="true classes: ID.png, pixel values being class indices (palette or grey); in a "
        "folder without PNGs ID.h5, .nii.gz, .tif or .npz",
    )
    add_label_map(parser, "they are classes")


def add_label_map(parser: argparse.ArgumentParser | argparse._ArgumentGroup, default: str) -> None:
    """What the values of masks mean."""
    parser.add_argument(
        "--label-map",
        metavar="MAP",
        help="what the values or colours of masks mean: cityscapes (ids to trainIds), ade20k, "
        "reduce-zero-label, one-more, binary (0, and 1 or 255), binary-threshold, voc-colours, "
        "indices, entries such as 255=1 or 0=ignore,1=0, or a JSON file of them (default: "
        f"{default})",
    )


def add_follow_exif(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Whether photos are turned."""
    parser.add_argument(
        "--follow-exif",
        action="store_true",
        help="turn photos as their EXIF says, as viewers do in which masks are drawn (default: the "
        "pixels as stored, as most training code reads them)",
    )


def add_threshold(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """What to filter with; returns the group, to which alternatives may be added."""
    threshold = parser.add_mutually_exclusive_group(required=True)
    threshold.add_argument(
        "--calibration", type=Path, metavar="FILE", help="what `calibrate` wrote"
    )
    threshold.add_argument(
        "--qhat", type=float, nargs="+", metavar="Q", help="threshold: one number, or one per class"
    )
    return threshold


def add_calibrated(group: argparse._ActionsContainer) -> None:
    """Which calibration is looked at, and the folder for what is seen."""
    group.add_argument(
        "--calibration", type=Path, required=True, metavar="FILE", help="what `calibrate` wrote"
    )
    group.add_argument("--out", type=Path, required=True, metavar="DIR", help="where it goes")


def add_draw(group: argparse._ActionsContainer, when: str = "") -> None:
    """How many photos are drawn to calibrate on, and from which seed."""
    group.add_argument(
        "--calibrate-on",
        type=int,
        default=0,
        metavar="N",
        help=f"{when}draw so many at random, or so many groups",
    )
    group.add_argument(
        "--seed", type=int, default=0, help="of the draw (default: 0); fix it beforehand"
    )


def add_rule(parser: argparse._ActionsContainer) -> None:
    """How labels are picked."""
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


def add_own_maps(group: argparse._ArgumentGroup) -> None:
    """What the user's own model knows."""
    group.add_argument(
        "--own-maps",
        type=Path,
        metavar="DIR",
        help="class scores, as in --maps, of a model of yours that learnt from labelled images "
        "alone, each from a training that did not see the image: labels that teach no more than "
        "that are not worth using",
    )


def class_or_none(text: str) -> int | str:
    """The type of ``--background``: a class index, or ``none`` where no class is a background.

    Raises:
        ArgumentTypeError: neither.
    """
    if text == "none":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"a class index or none, got {text!r}") from None


def add_resize(parser: argparse.ArgumentParser, target: str) -> None:
    """Whether maps of another size are fitted to their label or photo."""
    parser.add_argument(
        "--resize",
        action="store_true",
        help=f"resize maps of another size than the {target} bilinearly instead of refusing them",
    )


def add_label_style(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """How label files are written."""
    add_label_map(parser, "the calibration's")
    parser.add_argument(
        "--grey",
        nargs="?",
        const="8",
        choices=("8", "16"),
        metavar="BITS",
        help="write grey PNGs of 8 or 16 bits, for code that reads masks with "
        ".convert('L') (default: a palette, with the colours of the label map or VOC's)",
    )
    parser.add_argument(
        "--own-numbers",
        action="store_true",
        help="write the numbers that the masks have by the label map, and not classes",
    )
    parser.add_argument(
        "--dropped",
        type=int,
        metavar="LABEL",
        help="with --own-numbers: what dropped pixels hold (default: the first number that the "
        "label map ignores)",
    )


def add_ignore_index(parser: argparse.ArgumentParser, default: str) -> None:
    """The label of pixels without a class."""
    parser.add_argument(
        "--ignore-index",
        type=int,
        metavar="LABEL",
        help=f"label of pixels without a class (default: {default})",
    )


def add_output(parser: argparse.ArgumentParser) -> None:
    """What is printed."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quiet", action="store_true", help="no progress bar and no notes")
