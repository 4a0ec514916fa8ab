"""How long annotators with real models take for 10,000 photos, on the machine at hand.

One command, about five minutes on two quiet cores; it downloads nothing::

    python benchmarks/annotate_time.py --threads 2
    python benchmarks/annotate_time.py --models mask2former-swin-large --device cuda --photos 200

The models have the architecture and the input size of published checkpoints, and random weights:
they take as long as trained ones. Photos go through the annotator class, the stream and the store
of ``conformal-plugin annotate``, into maps of VOC's 21 classes. What the maps are worth, and how
small they are on disk, random weights do not say.

"Model" is the share of the time that the model's own pass takes, "scores" that of the rest of the
annotator (bringing photos to the model's size, and its output to the photo's), "waiting" what is
left: for photos to be read and for maps to be written.
"""

from __future__ import annotations

import argparse
import json
import string
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from torch import Tensor, nn

from conformal_plugin._atomic import atomic_write_text
from conformal_plugin.annotators import CLASS_LISTS, in_batches, through
from conformal_plugin.annotators._huggingface import TransformersAnnotator
from conformal_plugin.annotators._protocol import Photo
from conformal_plugin.errors import SourceFileError
from conformal_plugin.files import PHOTO_SUFFIXES, MapStore, read_photo

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "examples")]

from scenes import PHOTO, draw_many  # noqa: E402
from speed import machine  # noqa: E402

VOC = CLASS_LISTS["voc"]
ADE20K = CLASS_LISTS["ade20k"].class_names
# 80 things by their names, of 53 kinds of stuff the number alone: no class of VOC is among them.
COCO_PANOPTIC = (*CLASS_LISTS["coco"].class_names[1:], *(f"stuff {i}" for i in range(53)))
# ADE20K has one class for all animals, and no train.
SYNONYMS = {name: [] for name in ("bird", "cat", "cow", "dog", "horse", "sheep", "train")} | {
    "pottedplant": ["plant"]
}
SIZE = (500, 375)  # of a generated photo, width and height: the usual ones of VOC
TINY_SIZE = (100, 75)

Built = tuple[nn.Module, Any, str, "Mapping[str, Sequence[str]] | None"]
"""Model, processor, kind as ``TransformersAnnotator`` has it, synonym table."""


def segformer(side: int, **architecture: Any) -> Built:
    config = transformers.SegformerConfig(**labelled(ADE20K), **architecture)
    processor = transformers.SegformerImageProcessor(size={"height": side, "width": side})
    model = transformers.SegformerForSemanticSegmentation(config)
    return model, processor, "dense", SYNONYMS


def mask2former(sides: tuple[int, int], swin: dict[str, Any], **architecture: Any) -> Built:
    stages = ["stage1", "stage2", "stage3", "stage4"]
    backbone = transformers.SwinConfig(**swin, out_features=stages)
    config = transformers.Mask2FormerConfig(
        backbone_config=backbone, **labelled(COCO_PANOPTIC), **architecture
    )
    shortest, longest = sides
    processor = transformers.Mask2FormerImageProcessor(
        size={"shortest_edge": shortest, "longest_edge": longest}
    )
    return transformers.Mask2FormerForUniversalSegmentation(config), processor, "universal", None


def clipseg(side: int, **architecture: Any) -> Built:
    config = transformers.CLIPSegConfig(**architecture)
    processor = transformers.CLIPSegProcessor(
        image_processor=transformers.ViTImageProcessor(size={"height": side, "width": side}),
        tokenizer=letters(config.text_config.eos_token_id),
    )
    return transformers.CLIPSegForImageSegmentation(config), processor, "clipseg", None


def labelled(names: Sequence[str]) -> dict[str, Any]:
    return {"id2label": dict(enumerate(names)), "label2id": {n: i for i, n in enumerate(names)}}


def letters(end: int) -> Any:
    """A tokenizer of single letters: every prompt is padded to the same length all the same."""
    known = [*string.ascii_lowercase, *(f"{letter}</w>" for letter in string.ascii_lowercase)]
    vocabulary = {word: index for index, word in enumerate(known)}
    vocabulary |= {"<|startoftext|>": end - 1, "<|endoftext|>": end}
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
        (Path(folder) / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
        return transformers.CLIPTokenizer.from_pretrained(folder)


MODELS: dict[str, Callable[[], Built]] = {
    # nvidia/segformer-b0-finetuned-ade-512-512 and its larger kin
    "segformer-b0": partial(segformer, 512),
    "segformer-b2": partial(
        segformer,
        512,
        depths=[3, 4, 6, 3],
        hidden_sizes=[64, 128, 320, 512],
        decoder_hidden_size=768,
    ),
    # facebook/mask2former-swin-...-coco-panoptic
    "mask2former-swin-tiny": partial(
        mask2former,
        (800, 1333),
        {"embed_dim": 96, "depths": [2, 2, 6, 2], "num_heads": [3, 6, 12, 24], "window_size": 7},
    ),
    "mask2former-swin-large": partial(
        mask2former,
        (800, 1333),
        {
            "image_size": 384,
            "embed_dim": 192,
            "depths": [2, 2, 18, 2],
            "num_heads": [6, 12, 24, 48],
            "window_size": 12,
        },
        num_queries=200,
    ),
    # CIDAS/clipseg-rd64-refined
    "clipseg-rd64": partial(
        clipseg,
        352,
        vision_config={"patch_size": 16},
        reduce_dim=64,
        use_complex_transposed_convolution=True,
    ),
}
_NARROW = {"hidden_size": 16, "intermediate_size": 16, "num_attention_heads": 2}
TINY: dict[str, Callable[[], Built]] = {
    "segformer": partial(segformer, 64, depths=[1] * 4, hidden_sizes=[8, 16, 40, 64]),
    "mask2former": partial(
        mask2former,
        (40, 64),
        {"embed_dim": 8, "depths": [1] * 4, "num_heads": [1, 1, 2, 2], "window_size": 4},
        hidden_dim=32,
        feature_size=32,
        mask_feature_size=32,
        num_queries=5,
        num_attention_heads=2,
        encoder_layers=1,
        decoder_layers=2,
    ),
    "clipseg": partial(
        clipseg,
        64,
        text_config={**_NARROW, "num_hidden_layers": 1},
        vision_config={**_NARROW, "num_hidden_layers": 4, "image_size": 64, "patch_size": 16},
        extract_layers=[1, 2, 3],
        reduce_dim=8,
        projection_dim=16,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=16,
    ),
}


class Timed:
    """An annotator that adds up the seconds of its calls, and in them those of its model."""

    def __init__(self, annotator: TransformersAnnotator, model: nn.Module, device: str) -> None:
        self._annotator, self._cuda = annotator, torch.device(device).type == "cuda"
        self.class_names = annotator.class_names
        self.background = annotator.background
        self.fingerprint = annotator.fingerprint
        self.forget()
        model.register_forward_pre_hook(lambda *_: self._tick())
        model.register_forward_hook(lambda *_: self._tock())

    def forget(self) -> None:
        self.total = self.model = 0.0

    def annotate(self, photos: Sequence[Photo]) -> list[Tensor]:
        start = self._now()
        maps = self._annotator.annotate(photos)
        self.total += self._now() - start
        return maps

    def _tick(self) -> None:
        self._began = self._now()

    def _tock(self) -> None:
        self.model += self._now() - self._began

    def _now(self) -> float:
        if self._cuda:  # what was launched is not done yet
            torch.cuda.synchronize()
        return time.perf_counter()


def measured(
    make: Callable[[], Built], photos: Sequence[Path], options: argparse.Namespace
) -> dict[str, Any]:
    """Seconds of annotating all photos, and where they went."""
    torch.manual_seed(0)
    model, processor, kind, synonyms = make()
    annotator = TransformersAnnotator(
        model,
        processor,
        kind,
        classes=VOC,
        device=options.device,
        amp=None if options.amp == "off" else options.amp,
        synonyms=synonyms,
    )
    timed = Timed(annotator, model, options.device)
    timed.annotate([read_photo(photos[0])])  # what only the first pass does is no part of a rate
    timed.forget()
    by_name = {f"{i:05d}": path for i, path in enumerate(photos)}
    with tempfile.TemporaryDirectory() as folder:
        store = MapStore(folder, annotator=dict(timed.fingerprint), class_names=timed.class_names)
        start = time.perf_counter()
        results = list(
            through(
                timed,
                [(batch, frozenset(batch)) for batch in in_batches(list(by_name), options.batch)],
                read=lambda name: read_photo(by_name[name]),
                write=store.write,
            )
        )
        seconds = time.perf_counter() - start
    assert len(results) == len(photos)
    problems = [result.problem for result in results if result.problem]
    if problems:
        raise SourceFileError(
            f"{len(problems)} photos could not be annotated; the first: {problems[0]}"
        )
    return {
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "processor": type(getattr(processor, "image_processor", processor)).__name__,
        "photos": len(photos),
        "seconds": seconds,
        "photos_per_second": len(photos) / seconds,
        "hours_per_10000": 10_000 * seconds / len(photos) / 3600,
        "share_model": timed.model / seconds,
        "share_scores": (timed.total - timed.model) / seconds,
        "share_waiting": 1 - timed.total / seconds,
    }


def generated(folder: Path, count: int, size: tuple[int, int]) -> list[Path]:
    """Photos of at most 512 x 384 pixels, tiled of the generated scenes of ``examples/``."""
    width, height = size
    paths = []
    for number in range(count):
        scenes = draw_many(PHOTO, 48, number)[0]  # (48, 3, 64, 64): six rows of eight
        rows = scenes.reshape(6, 8, 3, 64, 64).transpose(0, 3, 1, 4, 2).reshape(384, 512, 3)
        paths.append(folder / f"{number:05d}.jpg")
        pixels = np.ascontiguousarray(rows[:height, :width])
        Image.fromarray(pixels).save(paths[-1], quality=90)
    return paths


def chosen(data: Path, count: int) -> list[Path]:
    folder = data / "images" if (data / "images").is_dir() else data
    found = sorted(path for path in folder.rglob("*") if path.suffix in PHOTO_SUFFIXES)
    if len(found) < count:
        raise SourceFileError(
            f"expected {count} photos in {folder}, found {len(found)}; ask for fewer with --photos"
        )
    return found[:count]


def where(options: argparse.Namespace) -> str:
    """The machine, in words."""
    parts = [
        machine(),
        f"torch {torch.__version__} with {torch.get_num_threads()} threads",
        f"transformers {transformers.__version__}",
    ]
    if torch.device(options.device).type == "cuda":
        parts.append(torch.cuda.get_device_name(options.device))
    return "; ".join([*parts, f"on {options.device}, mixed precision {options.amp}"])


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--models",
        nargs="+",
        metavar="MODEL",
        help=f"of {', '.join(MODELS)} (default: all but mask2former-swin-large)",
    )
    parser.add_argument("--tiny", action="store_true", help="tiny models: does it run at all?")
    parser.add_argument("--photos", type=int, default=8, metavar="N", help="(default: 8)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="photos (default: generated)")
    parser.add_argument("--batch", type=int, default=4, help="as `--batch-size` (default: 4)")
    parser.add_argument("--device", help="(default: cuda where there is one)")
    parser.add_argument(
        "--amp",
        choices=("off", "float16", "bfloat16"),
        help="(default: float16 on CUDA, else off, as `annotate` has it)",
    )
    parser.add_argument("--threads", type=int, help="of torch (default: torch's own)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures here")
    options = parser.parse_args(argv)
    known = TINY if options.tiny else MODELS
    options.models = options.models or [name for name in known if name != "mask2former-swin-large"]
    unknown = [name for name in options.models if name not in known]
    if unknown:
        parser.error(f"no model {', '.join(unknown)}; choose from {', '.join(known)}")
    if options.photos < 1 or options.batch < 1:
        parser.error("--photos and --batch must be at least 1")
    options.device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    on_gpu = torch.device(options.device).type == "cuda"
    options.amp = options.amp or ("float16" if on_gpu else "off")
    return options


def main(argv: Sequence[str] | None = None) -> None:
    options = parsed(argv)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    report: dict[str, Any] = {"machine": where(options), "models": {}}
    print(report["machine"])
    print(f"{options.photos} photos, {options.batch} at a time, maps of {len(VOC.prompts)} classes")
    print("| model | parameters | photos a second | hours for 10,000 | model | scores | waiting |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    known = TINY if options.tiny else MODELS
    with tempfile.TemporaryDirectory() as folder:
        if options.data is None:
            photos = generated(Path(folder), options.photos, TINY_SIZE if options.tiny else SIZE)
        else:
            photos = chosen(options.data, options.photos)
        for name in options.models:
            report["models"][name] = found = measured(known[name], photos, options)
            shares = (found[f"share_{part}"] for part in ("model", "scores", "waiting"))
            print(
                f"| {name} | {found['parameters'] / 1e6:.2f} M | {found['photos_per_second']:.3g} "
                f"| {found['hours_per_10000']:.2f} | "
                f"{' | '.join(f'{100 * share:.0f} %' for share in shares)} |",
                flush=True,
            )
    if options.json is not None:
        atomic_write_text(options.json, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
