"""Draws docs/background_rules.png: one annotator's labels under the three background rules.

One command, about a minute on one core::

    python benchmarks/background_figure.py

The photos are the generated ones of ``examples/scenes.py``. The annotator is a small network that
has only ever seen clip art, with an independent score for every class, background among them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from conformal_plugin.annotators import with_background
from conformal_plugin.atomic import atomic_open
from conformal_plugin.files import voc_palette

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


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "background_rules.png")
    parser.add_argument("--steps", type=int, default=350)
    options = parser.parse_args(argv)
    model = trained(options.steps)
    photos, truths = draw_many(PHOTO, 3, 12)
    palette = np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)
    width = GAP + len(HEADINGS) * (CELL + GAP)
    canvas = Image.new("RGB", (width, LINE + GAP + len(photos) * (CELL + GAP)), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default()
    for column, heading in enumerate(HEADINGS):
        pen.text((GAP + column * (CELL + GAP), GAP // 2), heading, fill="black", font=font)
    for row, (photo, truth) in enumerate(zip(photos, truths)):
        with torch.no_grad():
            scores = model(torch.from_numpy(photo)[None] / 255)[0].sigmoid()
        under = labels_under(scores)
        shown = [photo.transpose(1, 2, 0), palette[truth], *(palette[m] for m in under.values())]
        for column, tile in enumerate(shown):
            image = Image.fromarray(np.ascontiguousarray(tile))
            image = image.resize((CELL, CELL), Image.Resampling.NEAREST)
            canvas.paste(image, (GAP + column * (CELL + GAP), LINE + GAP + row * (CELL + GAP)))
        right = {name: float((labels == truth).mean()) for name, labels in under.items()}
        print(", ".join(f"{name}: {100 * share:.1f} % right" for name, share in right.items()))
    with atomic_open(options.out) as handle:
        canvas.save(handle, format="PNG", optimize=True)


if __name__ == "__main__":
    main()
