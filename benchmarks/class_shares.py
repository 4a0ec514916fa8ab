"""What resizing and soft-maxing in strips saves a model with many classes, in seconds of one core.

    python benchmarks/class_shares.py

SegFormer with 150 classes of which 20 are kept, by ``annotate``'s driver: all classes at the size
of the photo at once, as it was before, and in strips. Processor time, the least of some rounds, so
that a busy machine does not count.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate

sys.path.insert(0, str(Path(__file__).resolve().parent))

from annotate_time import MODELS, SIZE, TINY, VOC

from conformal_plugin.annotators import _transformers_fixed as driver
from conformal_plugin.annotators._huggingface import TransformersAnnotator


def at_once(
    logits: torch.Tensor, members: Sequence[Sequence[int]], size: tuple[int, int]
) -> torch.Tensor:
    shares = interpolate(logits[None], size, mode="bilinear")[0].softmax(dim=0)
    return torch.stack([shares[list(m)].sum(dim=0) for m in members])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--models", nargs="+", default=["segformer-b0", "segformer-b2"])
    parser.add_argument("--tiny", action="store_true", help="tiny models: does it run at all?")
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    width, height = SIZE
    photo = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    print(f"torch {torch.__version__}, one thread, a photo of {width} x {height}")
    print("| model | at once: s | in strips: s | scores differ by |")
    print("| --- | --- | --- | --- |")
    for name in options.models:
        torch.manual_seed(0)
        model, processor, kind, synonyms = (TINY if options.tiny else MODELS)[name]()
        annotator = TransformersAnnotator(model, processor, kind, classes=VOC, synonyms=synonyms)
        seconds, maps = {}, {}
        strips = driver.class_shares
        for shares in (at_once, strips):
            driver.class_shares = shares
            least = np.inf
            try:
                for _ in range(options.rounds):
                    began = time.process_time()
                    (maps[shares],) = annotator.annotate([photo])
                    least = min(least, time.process_time() - began)
            finally:
                driver.class_shares = strips
            seconds[shares] = least
        apart = float((maps[at_once] - maps[strips]).abs().max())
        print(f"| {name} | {seconds[at_once]:.2f} | {seconds[strips]:.2f} | {apart:.0e} |")


if __name__ == "__main__":
    main()
