"""Draws docs/background_rules.png: one annotator's labels under the three background rules.

One command, about a minute on one core::

    python benchmarks/background_figure.py

The photos are the generated ones of ``examples/scenes.py``. The annotator is a small network that
has only ever seen clip art, with an independent score for every class, background among them.
Given photos of one's own with score maps, it draws the first of them instead::

    python benchmarks/background_figure.py --data ../shared/data/voc-animals --out rules.png
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from conformal_plugin.annotators import with_background
from conformal_plugin.atomic import atomic_open
from conformal_plugin.files import read_ids, read_label, read_map, voc_palette

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))

from scenes import CLASSES, CLIP_ART, PHOTO, draw_many  # noqa: E402
from students import SmallStudent  # noqa: E402

CELL, GAP, LINE = 160, 6, 18
HEADINGS = ("photo", "true mask", "prompt", "complement", "none")


def trained(steps: int, seed: int = 7) -> SmallStudent:
    """One binary cross-entropy per class on clip art, background included."""
    torch.manual_seed(seed)
    photos, labels = (torch.from_numpy(a) for a in draw_many(CLIP_ART, 400, seed))
    model = SmallStudent(len(CLASSES))
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 6e-3, steps)
    for _ in range(steps):
        batch = torch.randint(len(photos), (8,))
        present = F.one_hot(labels[batch].long(), len(CLASSES)).movedim(-1, 1).float()
        loss = F.binary_cross_entropy_with_logits(model(photos[batch] / 255), present)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def labels_under(scores: Tensor) -> dict[str, np.ndarray]:
    """The most probable class under each rule; indices as in ``CLASSES``."""
    return {
        "prompt": with_background(scores, "prompt").argmax(0).numpy(),
        "complement": with_background(scores[1:], "complement").argmax(0).numpy(),
        "none": with_background(scores[1:], "none").argmax(0).numpy() + 1,
    }


Row = tuple[np.ndarray, np.ndarray, Tensor]
"""Photo ``(H, W, 3)``, truth ``(H, W)`` with 255 for ignored, scores ``(K, H, W)``."""


def generated(steps: int) -> Iterator[Row]:
    model = trained(steps)
    for photo, truth in zip(*draw_many(PHOTO, 3, 12)):
        with torch.no_grad():
            scores = model(torch.from_numpy(photo)[None] / 255)[0].sigmoid()
        yield photo.transpose(1, 2, 0), truth, scores


def real(data: Path, count: int = 3) -> Iterator[Row]:
    for name in read_ids(data / "splits" / "labeled_92.txt").ids[:count]:
        with Image.open(data / "images" / f"{name}.jpg") as photo:
            pixels = np.asarray(photo.convert("RGB"))
        scores = torch.as_tensor(np.asarray(read_map(data / "probs" / f"{name}.npz")))
        yield pixels, read_label(data / "labels" / f"{name}.png"), scores.float()


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "background_rules.png")
    parser.add_argument("--steps", type=int, default=350)
    parser.add_argument("--data", type=Path, help="photos with maps, laid out as voc-animals")
    options = parser.parse_args(argv)
    rows = list(generated(options.steps) if options.data is None else real(options.data))
    palette = np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)
    width = GAP + len(HEADINGS) * (CELL + GAP)
    canvas = Image.new("RGB", (width, LINE + GAP + len(rows) * (CELL + GAP)), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default()
    for column, heading in enumerate(HEADINGS):
        pen.text((GAP + column * (CELL + GAP), GAP // 2), heading, fill="black", font=font)
    for row, (photo, truth, scores) in enumerate(rows):
        under = labels_under(scores)
        shown = [photo, palette[truth], *(palette[m] for m in under.values())]
        for column, tile in enumerate(shown):
            image = Image.fromarray(np.ascontiguousarray(tile))
            size = [round(side * CELL / max(image.size)) for side in image.size]
            image = image.resize((size[0], size[1]), Image.Resampling.NEAREST)
            canvas.paste(image, (GAP + column * (CELL + GAP), LINE + GAP + row * (CELL + GAP)))
        used = truth != 255
        right = {name: (labels == truth)[used].mean() for name, labels in under.items()}
        print(", ".join(f"{name}: {100 * share:.1f} % right" for name, share in right.items()))
    with atomic_open(options.out) as handle:
        canvas.save(handle, format="PNG", optimize=True)


if __name__ == "__main__":
    main()
