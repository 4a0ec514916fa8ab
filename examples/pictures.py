"""Draws photo, truth, raw and kept labels side by side into one PNG, with a legend."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from material import IGNORE, Material
from PIL import Image, ImageDraw, ImageFont

from conformal_plugin._atomic import atomic_open

__all__ = ["draw_pictures", "painted"]

Bytes = npt.NDArray[np.uint8]

HEADINGS = ("photo", "true mask", "raw label (argmax)", "kept label")
CELL = 224
GAP = 8
LINE = 22
STRIPES = np.array([[255, 255, 255], [150, 150, 150]], np.uint8)


def draw_pictures(
    path: Path, material: Material, raw: Sequence[Bytes], kept: Sequence[Bytes], count: int = 3
) -> None:
    """Write ``count`` unlabelled photos, taken at even distances, with their labels as a PNG."""
    total = len(material.unlabelled)
    chosen = [index * total // count for index in range(min(count, total))]
    shown = [material.unlabelled.truth, raw, kept]
    present = sorted({int(c) for maps in shown for i in chosen for c in np.unique(maps[i])})
    rows = [_tiles(material, index, shown) for index in chosen]
    tops = np.cumsum([LINE + GAP, *(row[0].height + GAP for row in rows)]).tolist()
    width = GAP + len(HEADINGS) * (CELL + GAP)
    per_line = max(1, (width - GAP) // 150)
    height = tops[-1] + (-(-len(present) // per_line)) * LINE + GAP
    canvas = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default()
    for column, heading in enumerate(HEADINGS):
        pen.text((GAP + column * (CELL + GAP), GAP), heading, fill="black", font=font)
    for top, tiles in zip(tops, rows):
        for column, tile in enumerate(tiles):
            canvas.paste(tile, (GAP + column * (CELL + GAP), top))
    for place, value in enumerate(present):
        x = GAP + (place % per_line) * 150
        y = tops[-1] + (place // per_line) * LINE
        swatch = painted(np.full((14, 14), value, np.uint8), material.palette)
        canvas.paste(Image.fromarray(swatch), (x, y))
        name = "ignored / dropped" if value == IGNORE else material.classes[value]
        pen.text((x + 20, y + 1), name, fill="black", font=font)
    with atomic_open(path) as handle:
        canvas.save(handle, format="PNG")


def painted(labels: Bytes, palette: Bytes) -> Bytes:
    """Colour a label map ``(H, W)``; ignored pixels get grey stripes that no class has."""
    colours = palette[np.where(labels == IGNORE, 0, labels)]
    y, x = np.indices(labels.shape)
    return np.where((labels == IGNORE)[..., None], STRIPES[(x + y) // 3 % 2], colours)


def _tiles(material: Material, index: int, shown: Sequence[Sequence[Bytes]]) -> list[Image.Image]:
    photo = material.unlabelled.photos[index].transpose(1, 2, 0)
    masks = [painted(maps[index], material.palette) for maps in shown]
    return [_fitted(photo, smooth=True), *(_fitted(mask, smooth=False) for mask in masks)]


def _fitted(tile: Bytes, smooth: bool) -> Image.Image:
    scale = CELL / max(tile.shape[:2])
    size = (round(tile.shape[1] * scale), round(tile.shape[0] * scale))
    resampling = Image.Resampling.BILINEAR if smooth else Image.Resampling.NEAREST
    return Image.fromarray(np.ascontiguousarray(tile)).resize(size, resampling)
