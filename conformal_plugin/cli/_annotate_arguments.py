"""What can be typed after ``conformal-plugin annotate``. Imports nothing heavy."""

from __future__ import annotations

import argparse
from pathlib import Path

from conformal_plugin._choices import RULES
from conformal_plugin.cli._shared_arguments import (
    add_follow_exif,
    add_ids,
    add_label_style,
    add_output,
    add_photos,
)

__all__ = ["AMP", "BACKGROUND_RULES", "DESCRIPTION", "EXAMPLES", "PRECISIONS", "add_options"]

AMP = ("off", "float16", "bfloat16")
BACKGROUND_RULES = ("prompt", "complement", "none")
PRECISIONS = (8, 9, 10, 11, 16)

SUMMARY = "from photos to score maps, or to labels"

DESCRIPTION = """\
Run an annotator over photos and keep its class scores in a compact store, or, with a calibration,
write pseudo-labels directly and keep no maps. Results that are there already, made by the same
annotator, are kept: killed at any moment, the same command goes on where it stopped. Under torchrun
the ranks share the photos: they begin together, and each then goes on alone. A photo that cannot be
read is skipped and listed at the end.
"""

EXAMPLES = """\
examples:
  # a segmentation model of Hugging Face, the VOC classes, background as the rest
  conformal-plugin annotate --photos JPEGImages --ids all.txt --annotator transformers \\
      --model facebook/mask2former-swin-large-coco-panoptic --classes voc --out maps
  # any words: boxes of Grounding DINO, masks of SAM 2
  conformal-plugin annotate --photos JPEGImages --annotator grounded-sam \\
      --model IDEA-Research/grounding-dino-tiny --segmenter facebook/sam2.1-hiera-tiny \\
      --classes voc --out maps
  # SEEM, from its own checkout and environment
  conformal-plugin annotate --photos JPEGImages --annotator seem --checkout SEEM \\
      --config SEEM/configs/seem/focall_unicl_lang_demo.yaml --checkpoint seem_focall_v0.pt \\
      --classes voc-stuff --background-rule prompt --out maps
  # a function of yours, in mymodel.py: photo (H, W, 3) in, scores (K, H, W) out
  conformal-plugin annotate --photos photos --annotator mymodel:scores --classes classes.txt \\
      --out maps
  # one pass: labels as `filter` would write them, no maps
  conformal-plugin annotate --photos JPEGImages --ids unlabelled.txt --annotator transformers \\
      --model facebook/mask2former-swin-large-coco-panoptic --classes voc \\
      --calibration calibration.json --out pseudo_labels
several GPUs:
  torchrun --nproc_per_node 4 --no-python conformal-plugin annotate ...
"""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``annotate`` to its parser."""
    _add_photos(parser)
    _add_annotator(parser)
    _add_results(parser)
    _add_running(parser)
    add_output(parser)


def _add_photos(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("photos")
    add_photos(group)
    add_ids(group, "all photos in --photos")
    add_follow_exif(group)
    group.add_argument(
        "--window",
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="annotate volumes slice by slice, and images of any grey values: those that are black "
        "and white, as -160 240, or percentages of each volume's own, as 1%% 99%%. For NIfTI, HDF5 "
        "and what --reader gives",
    )


def _add_annotator(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("annotator")
    group.add_argument(
        "--annotator",
        required=True,
        metavar="KIND",
        help="transformers, grounded-sam, seem, xdecoder, or MODULE:FUNCTION (a function of yours, "
        "or an annotator)",
    )
    group.add_argument(
        "--classes",
        metavar="LIST",
        help="voc, voc-stuff (background asked for as wall, sky, ...), ade20k, cityscapes, coco, a "
        "text file with one class a line, or a JSON file "
        '{"background": [], "dog": ["dog", "puppy"], ...} with the words to ask for',
    )
    group.add_argument(
        "--background-rule",
        choices=BACKGROUND_RULES,
        help="how background is formed: asked for as any class, one minus the largest foreground "
        "score, or not at all (default: complement where the list has background, else none)",
    )
    group.add_argument(
        "--model",
        metavar="NAME",
        help="transformers: folder or name of the model; grounded-sam: of Grounding DINO",
    )
    group.add_argument("--segmenter", metavar="NAME", help="grounded-sam: folder or name of SAM 2")
    group.add_argument(
        "--box-threshold",
        type=float,
        metavar="SHARE",
        help="grounded-sam: a box counts for a class where its share exceeds this (default: 0.1)",
    )
    group.add_argument(
        "--synonyms",
        type=Path,
        metavar="FILE",
        help='transformers: JSON {"CLASS": ["MODEL CLASS", ...]}, instead of the built-in matches',
    )
    for name, what, metavar in (
        ("checkout", "the clone of SEEM, which holds X-Decoder, too", "DIR"),
        ("config", "the YAML configuration", "FILE"),
        ("checkpoint", "the weights, a .pt", "FILE"),
    ):
        group.add_argument(f"--{name}", type=Path, metavar=metavar, help=f"seem, xdecoder: {what}")
    group.add_argument(
        "--short-side",
        type=int,
        metavar="PIXELS",
        help="seem, xdecoder: short side of what the model sees (default: 512)",
    )
    group.add_argument(
        "--long-side",
        type=int,
        metavar="PIXELS",
        help="seem, xdecoder: bound on its long side (default: none, or what the backbone takes)",
    )


def _add_results(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("results")
    group.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="where maps or labels go"
    )
    group.add_argument(
        "--precision",
        type=int,
        choices=PRECISIONS,
        default=11,
        help="bits of a kept score: 8 to 11 keep multiples of 2**-bits, 16 float16 as it is "
        "(default: 11, as fine as float16 is near 1)",
    )
    group.add_argument(
        "--calibration",
        type=Path,
        metavar="FILE",
        help="write pseudo-labels with what `calibrate` wrote, instead of maps",
    )
    group.add_argument(
        "--rule",
        choices=RULES,
        help="labels: how one is picked from a prediction set (default: the calibration's, else "
        f"{RULES[0]}, else {RULES[1]} without a background class)",
    )
    group.add_argument(
        "--root",
        type=Path,
        metavar="DIR",
        help="labels: what the paths in pseudo_labels.txt are relative to (default: the deepest "
        "folder that holds photos and labels)",
    )
    group.add_argument(
        "--ignore-index",
        type=int,
        metavar="LABEL",
        help="labels: that of pixels without a class (default: the calibration's)",
    )
    add_label_style(parser.add_argument_group("label files"))


def _add_running(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("running")
    group.add_argument(
        "--device", metavar="NAME", help="cpu, cuda:0, ... (default: this rank's GPU, else cpu)"
    )
    group.add_argument(
        "--amp",
        choices=AMP,
        help="automatic mixed precision (default: float16 on a GPU, else off)",
    )
    group.add_argument(
        "--compile",
        action="store_true",
        default=None,
        help="transformers, SegFormer and others whose scores are shares: through torch.compile; "
        "the first batch takes minutes, which only long runs win back",
    )
    group.add_argument(
        "--skip-failing",
        action="store_true",
        help="skip photos on which the annotator fails, for want of memory for instance, as those "
        "that cannot be read (default: end with their names)",
    )
    for name, default, what in (
        ("batch-size", 4, "photos that go through the model together"),
        ("readers", 2, "threads that read photos ahead"),
        ("writers", 2, "threads that write results"),
    ):
        group.add_argument(
            f"--{name}", type=int, default=default, metavar="N", help=f"{what} (default: {default})"
        )
