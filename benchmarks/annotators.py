"""Every annotator of docs/annotators.md: from a saved folder, against its own post-processing.

    python benchmarks/annotators.py

Tiny models with random weights are saved to disk, loaded back and brought to float64, where no
network makes much of a rounding. Their scores of photos of several sizes are compared with what the
models' own classes and processors make of the same folder, pixel by pixel, and a batch of photos
with each photo alone. Prints the table of the docs; a row is left out where transformers or
torchvision lacks what it needs.
"""

# ruff: noqa: E402  # the tiny models are the suite's

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests" / "plugins"))

import annotator_references as references
from annotator_references import WORDS, Scores
from double_precision import in_double
from tiny_models import LABELS, MAKERS, NEEDS

from conformal_plugin.annotators import (
    Annotator,
    ClassList,
    SeemAnnotator,
    load_grounded_sam,
    load_seem,
    load_transformers,
    load_xdecoder,
)
from conformal_plugin.annotators._seem_device import calls_for_cuda_mean

SIZES = ((30, 50), (61, 37), (64, 64), (20, 130), (200, 12), (7, 5), (3, 40), (1, 1))
WORD_LIST = ClassList.of({word: [] for word in WORDS})
LABEL_LIST = ClassList.of({label: [] for label in LABELS})
STAND_IN = ROOT / "tests" / "annotators" / "seem_stand_in"

SEMANTIC = "`post_process_semantic_segmentation`"
INSTANCES = "`post_process_instance_segmentation`"
BOXES = "`post_process_grounded_object_detection`, `post_process_masks`"
ALONE = "its forward, a prompt at a time"


class Kind(NamedTuple):
    """A row: what it is called, what it is held to, and the folders of its parts."""

    name: str
    against: str
    reference: Callable[..., Scores]
    parts: tuple[str, ...]
    classes: ClassList


def labelled(name: str, reference: Callable[[Path], Scores], part: str) -> Kind:
    return Kind(name, SEMANTIC, reference, (part,), LABEL_LIST)


def worded(name: str, against: str, reference: Callable[..., Scores], *parts: str) -> Kind:
    return Kind(name, against, reference, parts, WORD_LIST)


KINDS = (
    labelled("Mask2Former", references.universal, "mask2former"),
    labelled("MaskFormer", references.universal, "maskformer"),
    labelled("OneFormer", references.universal, "oneformer"),
    labelled("EoMT, photos cut", references.universal, "eomt"),
    labelled("EoMT with DINOv3, photos cut", references.universal, "eomt_dinov3"),
    labelled("SegFormer", references.dense, "segformer"),
    labelled("UperNet", references.dense, "upernet"),
    labelled("BEiT", references.dense, "beit"),
    labelled("Data2Vec", references.dense, "data2vec"),
    labelled("DPT", references.dense, "dpt"),
    labelled("MobileViT", references.dense, "mobilevit"),
    labelled("MobileViT 2", references.dense, "mobilevitv2"),
    labelled("MobileNetV2", references.dense, "mobilenet_v2"),
    labelled("Sapiens2", references.dense, "sapiens2"),
    labelled("TIPSv2 with DPT", references.dense, "tipsv2_dpt"),
    worded("CLIPSeg", ALONE, references.clipseg, "clipseg"),
    worded("SAM 3, as published", INSTANCES, references.sam3, "sam3_video"),
    worded("SAM 3, its detector alone", INSTANCES, references.sam3, "sam3"),
    worded("SAM 3, light text encoder", INSTANCES, references.sam3, "sam3_lite_text"),
    worded(
        "Grounding DINO and SAM 2 as published", BOXES, references.grounded,
        "grounding_dino", "sam2_video",
    ),
    worded("MM-Grounding-DINO and SAM 2", BOXES, references.grounded, "mm_grounding_dino", "sam2"),
)  # fmt: skip


def loaded(kind: Kind, root: Path) -> tuple[Annotator, Scores]:
    """The driver of a saved folder, and what it is held to."""
    folders = []
    for part in kind.parts:
        folders.append(root / part)
        if not folders[-1].exists():
            torch.manual_seed(0)
            MAKERS[part](folders[-1])
    options = {"classes": kind.classes, "background": "none"}
    if len(folders) == 1:
        annotator: Annotator = load_transformers(*folders, **options)
        runs = [annotator._scores.__self__._run]
    else:
        annotator = load_grounded_sam(*folders, **options)
        runs = [annotator._find._run, annotator._masks._run]
    for run in runs:
        in_double(run.model)
    return annotator, kind.reference(*folders)


@contextlib.contextmanager
def stand_in() -> Iterator[Path]:
    """The checkout that stands in for SEEM's, whose packages have names that others use, too."""
    path = list(sys.path)
    sys.path.insert(0, str(STAND_IN))
    try:
        yield STAND_IN
    finally:
        sys.path[:] = path
        for name in [n for n in sys.modules if n.split(".")[0] in ("modeling", "utils")]:
            del sys.modules[name]


def loaded_seem(load: Callable[..., SeemAnnotator], name: str, root: Path) -> SeemAnnotator:
    """SEEM's or X-Decoder's driver of a saved configuration and weights of the stand-in."""
    parts = {
        "NAME": name, "QUERIES": 30, "ENCODER": {"NAME": "transformer_encoder_fpn"},
        "BACKBONE": {"NAME": "focal", "LOAD_PRETRAINED": False, "PRETRAINED": ""},
        "DECODER": {"SIZE_DIVISIBILITY": 32},
    }  # fmt: skip
    config, checkpoint = root / f"{name}.yaml", root / f"{name}.pt"
    config.write_text(json.dumps({"MODEL": parts}))
    with stand_in() as checkout:
        from modeling import build_model

        plain = {**parts, "BACKBONE": {"NAME": "none", "LOAD_PRETRAINED": False}}
        more = {"device": "cpu", "rank": 0, "world_size": 1, "CUDA": False}
        with calls_for_cuda_mean(torch.device("cpu")):
            model = build_model({"MODEL": plain, **more})
        torch.save(model.state_dict(), checkpoint)
        files = {"config": config, "checkpoint": checkpoint}
        return load(checkout, **files, classes=WORD_LIST, background="none", device="cpu")


def missing(kind: Kind) -> str:
    """What a row needs and this environment lacks; empty where nothing is."""
    import transformers

    for part in kind.parts:
        if part in NEEDS and not hasattr(transformers, NEEDS[part]):
            return f"transformers {transformers.__version__} has no {NEEDS[part]}"
    if kind.against in (INSTANCES, BOXES):
        try:
            import torchvision  # noqa: F401
        except (ImportError, RuntimeError) as error:
            return f"torchvision: {error}"
    return ""


def largest(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).abs().max())


def compared(annotator: Annotator, reference: Scores) -> tuple[float, float]:
    """The largest difference from the reference, and of a batch from photos alone.

    Raises:
        SystemExit: a map that is not of the photo's size, or has scores outside [0, 1].
    """
    rng = np.random.default_rng(0)
    photos = [rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]
    wrong, apart = [], []
    for photo in photos:
        (scores,) = annotator.annotate([photo])
        expected = (len(annotator.class_names), *photo.shape[:2])
        if tuple(scores.shape) != expected or not bool(((scores >= 0) & (scores <= 1)).all()):
            raise SystemExit(f"scores of {tuple(scores.shape)}, expected {expected} in [0, 1]")
        wrong.append(largest(scores, reference(photo)))
    other = rng.integers(0, 256, photos[0].shape, dtype=np.uint8)
    batch = [photos[0], other, *photos[1:]]
    for photo, scores in zip(batch, annotator.annotate(batch), strict=True):
        apart.append(largest(scores, annotator.annotate([photo])[0]))
    return max(wrong), max(apart)


def shown(value: float) -> str:
    return "0" if value == 0 else f"{value:.0e}".replace("e-0", "e-")


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", nargs="+", metavar="PART", help="kinds with one of these parts")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # of transformers, about folders of video models
    import transformers

    print(f"transformers {transformers.__version__}, torch {torch.__version__}")
    print(f"photos of {', '.join(f'{h} x {w}' for h, w in SIZES)}\n")
    print("| annotator | against | largest difference | a batch against one |")
    print("| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for kind in KINDS:
            if options.only and not set(options.only) & set(kind.parts):
                continue
            if lacks := missing(kind):
                print(f"{kind.name}: left out, {lacks}", file=sys.stderr)
                continue
            figures = compared(*loaded(kind, Path(folder)))
            print(f"| {kind.name} | {kind.against} | {' | '.join(map(shown, figures))} |")
        for name, load, model in (
            ("SEEM", load_seem, "seem_model_v1"),
            ("X-Decoder", load_xdecoder, "xdecoder_model"),
        ):
            if options.only and model not in options.only:
                continue
            annotator = loaded_seem(load, model, Path(folder))
            figures = compared(annotator, references.seem(annotator._model))
            print(f"| {name} | `sem_seg` | {' | '.join(map(shown, figures))} |")


if __name__ == "__main__":
    main()
