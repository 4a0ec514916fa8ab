"""Draws docs/background_rules.png: one annotator's labels under the three background rules.

One command, about a minute on one core::

    python benchmarks/background_figure.py

The photos are the generated ones of ``examples/scenes.py``. The annotator is a small network that
has only ever seen clip art, with an independent score for every class, background among them.
Given photos of one's own with score maps, it draws the first of them instead::

    python benchmarks/background_figure.py --data ../shared/data/voc-animals --out rules.png

Given one photo more, it draws that one: it trains the student of ``examples/`` that has ImageNet
weights on all masks of the folder but those of its test split (two minutes on one core), and takes
the softmax of that student for the scores::

    python benchmarks/background_figure.py --data ../shared/data/voc-animals --photo chelsea.png \\
        --out docs/background_photo.png
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn
from tqdm import tqdm

from conformal_plugin import TwoStage
from conformal_plugin._atomic import atomic_open
from conformal_plugin.annotators import with_background
from conformal_plugin.files import read_ids, read_label, read_map, read_photo, voc_palette

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))

from material import Split  # noqa: E402
from scenes import CLASSES, CLIP_ART, PHOTO, draw_many  # noqa: E402
from students import SmallStudent  # noqa: E402
from training import Recipe, build_student, train  # noqa: E402
from voc_like import CLASSES as VOC, read_material  # noqa: E402

CELL, GAP, LINE = 160, 6, 18
WIDE = 240
RULES = ("prompt", "complement", "none")
SIDE = 256  # longer side of the training photos, and so of a photo that their student is to score
SEEN = 0.002  # share of the pixels from which on a class is named below the picture
# That of examples/study.py.
RECIPE = Recipe("pretrained", steps=240, crop=128, zoom=(0.5, 1.0), lr=5e-4, new_lr=2e-3)

Pixels = np.ndarray


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


def trained_on(data: Path, recipe: Recipe, seed: int = 0) -> nn.Module:
    """The student with ImageNet weights, trained on the masks of both training splits."""
    student = build_student(recipe, len(VOC), seed)  # a missing package is reported first
    material = read_material(data, ())
    known, more = material.labelled, material.unlabelled
    everything = Split([*known.photos, *more.photos], [*known.truth, *more.truth])
    with tqdm(total=recipe.steps, desc="training", leave=False) as bar:
        train(
            student,
            recipe,
            everything,
            (),
            None,
            seed=seed,
            schedule=TwoStage(recipe.steps, recipe.steps),
            until=recipe.steps,
            on_step=bar.update,
        )
    return student.eval()


def scores_of(student: nn.Module, photo: Pixels) -> Tensor:
    """Softmax ``(K, H, W)`` of a photo ``(H, W, 3)``, shown to the student at ``SIDE`` pixels."""
    pixels = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255
    height, width = photo.shape[:2]
    # The encoder halves five times.
    size = [max(1, round(s * SIDE / max(height, width) / 32)) * 32 for s in (height, width)]
    small = F.interpolate(pixels, size=size, mode="bilinear", align_corners=False, antialias=True)
    with torch.no_grad():
        logits = student(small.contiguous(memory_format=torch.channels_last))
    full = F.interpolate(logits, size=(height, width), mode="bilinear", align_corners=False)
    return full[0].softmax(dim=0)


def labels_under(scores: Tensor) -> dict[str, Pixels]:
    """The most probable class under each rule; indices as in ``CLASSES``."""
    return {
        "prompt": with_background(scores, "prompt").argmax(0).numpy(),
        "complement": with_background(scores[1:], "complement").argmax(0).numpy(),
        "none": with_background(scores[1:], "none").argmax(0).numpy() + 1,
    }


Row = tuple[Pixels, Pixels, Tensor]
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


def with_truth(rows: Sequence[Row]) -> Image.Image:
    """A row a photo, its true mask second; prints the share of pixels that are right."""
    palette = np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)
    shown = []
    for photo, truth, scores in rows:
        under = labels_under(scores)
        shown.append([photo, palette[truth], *(palette[m] for m in under.values())])
        used = truth != 255
        right = {name: (labels == truth)[used].mean() for name, labels in under.items()}
        print(", ".join(f"{name}: {100 * share:.1f} % right" for name, share in right.items()))
    return drawn(("photo", "true mask", *RULES), shown, CELL)


def without_truth(photo: Pixels, scores: Tensor) -> Image.Image:
    """One photo, large, and below it the classes; prints what every rule makes of it."""
    palette = np.frombuffer(voc_palette(), np.uint8).reshape(256, 3)
    under = labels_under(scores)
    named: dict[int, float] = {}
    for rule, labels in under.items():
        shares = np.bincount(labels.ravel(), minlength=len(VOC)) / labels.size
        seen = [int(c) for c in np.argsort(-shares) if shares[c] >= SEEN]
        print(f"{rule}: " + ", ".join(f"{VOC[c]} {100 * shares[c]:.1f} %" for c in seen))
        named |= {c: max(named.get(c, 0), float(shares[c])) for c in seen}
    background, foreground = scores[0], scores[1:].amax(dim=0)
    print(
        f"mean score of background: {float(background.mean()):.3f} asked for, "
        f"{float((1 - foreground).mean()):.3f} as complement; no class reaches one half on "
        f"{100 * float((scores.amax(dim=0) < 0.5).float().mean()):.1f} % of pixels"
    )
    picture = drawn(
        ("photo", *RULES), [[photo, *(palette[labels] for labels in under.values())]], WIDE
    )
    legend = {VOC[c]: palette[c] for c in sorted(named, key=lambda c: -named[c])}
    return with_legend(picture, legend)


def drawn(headings: Sequence[str], rows: Sequence[Sequence[Pixels]], cell: int) -> Image.Image:
    """Pictures ``(H, W, 3)`` in rows under their headings, the longer side of each ``cell``."""
    tiles = [[scaled(tile, cell) for tile in row] for row in rows]
    heights = [max(tile.height for tile in row) for row in tiles]
    size = (GAP + len(headings) * (cell + GAP), LINE + GAP + sum(h + GAP for h in heights))
    canvas = Image.new("RGB", size, "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default()
    for column, heading in enumerate(headings):
        pen.text((GAP + column * (cell + GAP), GAP // 2), heading, fill="black", font=font)
    top = LINE + GAP
    for row, height in zip(tiles, heights):
        for column, tile in enumerate(row):
            canvas.paste(tile, (GAP + column * (cell + GAP), top))
        top += height + GAP
    return canvas


def scaled(tile: Pixels, cell: int) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(tile))
    width, height = (round(side * cell / max(image.size)) for side in image.size)
    return image.resize((width, height), Image.Resampling.NEAREST)


def with_legend(picture: Image.Image, colours: Mapping[str, Pixels]) -> Image.Image:
    """The picture over a line of colours and their names, or several where one is too short."""
    font = ImageFont.load_default()
    places, left, line = [], GAP, 0
    for name in colours:
        width = round(font.getlength(name)) + LINE + 2 * GAP
        if left + width > picture.width:
            left, line = GAP, line + 1
        places.append((left, picture.height + line * LINE))
        left += width
    canvas = Image.new("RGB", (picture.width, picture.height + (line + 1) * LINE + GAP), "white")
    canvas.paste(picture)
    pen, side = ImageDraw.Draw(canvas), LINE - GAP
    for (x, y), (name, colour) in zip(places, colours.items()):
        red, green, blue = (int(part) for part in colour)
        pen.rectangle((x, y, x + side, y + side), fill=(red, green, blue), outline="grey")
        pen.text((x + side + GAP, y), name, fill="black", font=font)
    return canvas


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "background_rules.png")
    parser.add_argument("--steps", type=int, help="of the training (default: 350, a photo's 240)")
    parser.add_argument("--data", type=Path, help="photos with maps, laid out as voc-animals")
    parser.add_argument("--photo", type=Path, help="draw this one, scored by a student of --data")
    options = parser.parse_args(argv)
    if options.photo is not None:
        if options.data is None:
            parser.error("--photo needs --data, the masks that its student learns from")
        photo = read_photo(options.photo)  # before any work is lost
        recipe = Recipe(**{**vars(RECIPE), "steps": options.steps or RECIPE.steps})
        picture = without_truth(photo, scores_of(trained_on(options.data, recipe), photo))
    elif options.data is not None:
        picture = with_truth(list(real(options.data)))
    else:
        picture = with_truth(list(generated(options.steps or 350)))
    with atomic_open(options.out) as handle:
        picture.save(handle, format="PNG", optimize=True)


if __name__ == "__main__":
    main()
