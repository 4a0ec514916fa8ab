"""What batches, mixed precision and ``torch.compile`` change in an annotator's time and scores.

    python benchmarks/annotate_options.py --models segformer-b0 --threads 1
    python benchmarks/annotate_options.py --sizes-in ../voc-animals/images

Models with the architecture of published checkpoints and random weights, as in annotate_time.py,
and generated photos of four sizes that are usual in VOC, through ``annotate``'s driver. A SegFormer
of random weights is sure of nothing, so its last layer is scaled until the most probable class has
0.9 on average, as trained ones have; what it calls a class is as random as before. All ways are
timed in turn and the least of the rounds counts: on a CPU seconds of processor time a photo, summed
over the threads, so that a busy machine does not count; on a GPU seconds until it has done all of
it. The first call, which compiles, is by the clock. "Moved" is the largest difference of a score
from those of photos one at a time in float32, "other" the share of pixels whose most probable class
is another.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import transformers
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parent))

from annotate_time import MODELS, TINY, VOC, generated, machine
from torch import nn

from conformal_plugin.annotators import Photo, in_batches
from conformal_plugin.annotators._huggingface import TransformersAnnotator
from conformal_plugin.errors import OptionError, SourceFileError
from conformal_plugin.files import PHOTO_SUFFIXES, read_photo

__all__ = ["WAYS", "Figures", "Way", "measured", "photos"]

SIZES = ((375, 500), (500, 375), (333, 500), (500, 333))
SMALL_SIZES = ((30, 40), (40, 30), (27, 40), (40, 27))


@dataclass(frozen=True)
class Way:
    """How photos are annotated."""

    name: str
    together: bool = True
    amp: str | None = None
    compiled: bool = False


WAYS = (
    Way("one at a time", together=False),
    Way("four together"),
    Way("four, bfloat16", amp="bfloat16"),
    Way("four, float16", amp="float16"),
    Way("four, compiled", compiled=True),
    Way("four, compiled, bfloat16", amp="bfloat16", compiled=True),
)


@dataclass
class Figures:
    """What was found of a way: seconds a photo, those of the first call, and the scores."""

    way: Way
    seconds: float = float("inf")
    first: float = 0.0
    passes: int = 0
    maps: list[Tensor] = field(default_factory=list)

    def moved(self, plain: Figures) -> float:
        """The largest difference of a score."""
        return max(float((a - b).abs().max()) for a, b in zip(self.maps, plain.maps, strict=True))

    def other(self, plain: Figures) -> float:
        """The share of pixels whose most probable class is another."""
        pairs = zip(self.maps, plain.maps, strict=True)
        differ = [(a.argmax(0) != b.argmax(0)).flatten() for a, b in pairs]
        return float(torch.cat(differ).float().mean())


def photos(sizes: Sequence[tuple[int, int]]) -> list[Photo]:
    """Generated ones, upright where they are to be higher than wide."""
    made = []
    for number, (height, width) in enumerate(sizes):
        with tempfile.TemporaryDirectory() as folder:
            *_, path = generated(Path(folder), number + 1, (max(height, width), min(height, width)))
            photo = read_photo(path)
        made.append(np.ascontiguousarray(photo if width > height else photo.transpose(1, 0, 2)))
    return made


def sharp(model: nn.Module, processor: object, photo: Photo) -> None:
    """Scale a SegFormer's last layer until its most probable class has 0.9 on average."""
    pixels = processor(images=[photo], return_tensors="pt")["pixel_values"]
    with torch.inference_mode():
        logits = model.eval()(pixel_values=pixels).logits
    low, high = 1.0, 2.0**20
    while high / low > 1.01:
        middle = (low * high) ** 0.5
        sure = (middle * logits).softmax(1).amax(1).mean() > 0.9
        low, high = (low, middle) if sure else (middle, high)
    with torch.no_grad():
        for parameter in model.decode_head.classifier.parameters():
            parameter.mul_(high)


def measured(
    make: Callable[[], tuple[nn.Module, object, str, object]],
    ways: Sequence[Way],
    some: Sequence[Photo],
    device: str,
    rounds: int,
) -> list[Figures]:
    """The ways in turn, the first of them plain; a way that the device lacks is left out."""
    running = []
    for way in ways:
        torch.manual_seed(0)
        model, processor, kind, synonyms = make()
        if kind == "dense":
            sharp(model, processor, some[0])
        try:
            annotator = TransformersAnnotator(
                model, processor, kind, classes=VOC, device=device, synonyms=synonyms,
                amp=way.amp, compile_model=way.compiled,
            )  # fmt: skip
        except OptionError as error:
            print(f"{way.name}: left out, {error}", file=sys.stderr)
            continue
        found = Figures(way)
        if not way.compiled:  # which would be compiled again without it
            handle = model.register_forward_pre_hook(lambda *_, f=found: _one_more(f))
        began = time.perf_counter()
        found.maps = [scores.cpu() for scores in _all_of(annotator, way, some)]
        found.first = time.perf_counter() - began
        if not way.compiled:
            handle.remove()
        running.append((found, annotator))
    for _ in range(rounds):
        for found, annotator in running:
            seconds = _seconds(lambda a=annotator, w=found.way: list(_all_of(a, w, some)), device)
            found.seconds = min(found.seconds, seconds / len(some))
    return [found for found, _ in running]


def _one_more(found: Figures) -> None:
    found.passes += 1


def _all_of(annotator: TransformersAnnotator, way: Way, some: Sequence[Photo]) -> Iterator[Tensor]:
    if way.together:
        yield from annotator.annotate(some)
        return
    for photo in some:
        yield from annotator.annotate([photo])


def _seconds(function: Callable[[], object], device: str) -> float:
    cuda = torch.device(device).type == "cuda"
    now = time.perf_counter if cuda else time.process_time
    if cuda:
        torch.cuda.synchronize(device)
    began = now()
    function()
    if cuda:
        torch.cuda.synchronize(device)
    return now() - began


def sizes_in_batches(folder: Path) -> None:
    """Print how many sizes batches of the photos in a folder have, in the order of their names."""
    paths = sorted(path for path in folder.iterdir() if path.suffix in PHOTO_SUFFIXES)
    if not paths:
        raise SourceFileError(f"no photo in {folder}; --sizes-in takes a folder of photos")
    shapes = [read_photo(path).shape for path in paths]
    print("| a batch | batches | sizes, all batches together |")
    print("| --- | --- | --- |")
    for size in (4, 8, 16):
        cut = in_batches(list(map(str, range(len(shapes)))), size)
        distinct = sum(len({shapes[int(place)] for place in batch}) for batch in cut)
        print(f"| {size} | {len(cut)} | {distinct} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--models", nargs="+", default=["segformer-b0"], metavar="MODEL")
    parser.add_argument("--tiny", action="store_true", help="tiny models: does it run at all?")
    parser.add_argument("--threads", type=int, help="of torch (default: torch's own)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--ways", nargs="+", default=[way.name for way in WAYS], choices=[w.name for w in WAYS],
        metavar="WAY", help="beside the first; default: all that the device has",
    )  # fmt: skip
    parser.add_argument("--sizes-in", type=Path, metavar="DIR", help="count those of photos there")
    options = parser.parse_args()
    if options.sizes_in is not None:
        sizes_in_batches(options.sizes_in)
        return
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    on_gpu = torch.device(options.device).type == "cuda"
    ways = [
        way for way in WAYS
        if way is WAYS[0] or (way.name in options.ways and (on_gpu or way.amp != "float16"))
    ]  # fmt: skip
    print(f"{machine()}; torch {torch.__version__}, transformers {transformers.__version__}")
    print(f"{torch.get_num_threads()} threads, on {options.device}, photos of {len(SIZES)} sizes")
    print("| model | | passes | s a photo | first call, s | moved | other |")
    print("| --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for name in options.models:
        make = (TINY if options.tiny else MODELS)[name]
        some = photos(SMALL_SIZES if options.tiny else SIZES)
        found = measured(make, ways, some, options.device, options.rounds)
        for one in found:
            print(
                f"| {name} | {one.way.name} | {one.passes or ''} | {one.seconds:.3f} | "
                f"{one.first:.0f} | {one.moved(found[0]):.0e} | "
                f"{100 * one.other(found[0]):.2f} % |",
                flush=True,
            )


if __name__ == "__main__":
    main()
