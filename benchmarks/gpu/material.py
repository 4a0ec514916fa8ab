"""Maps and labels, made on the device: nothing is downloaded and nothing is copied to it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["ALPHA", "IGNORE", "QHAT", "Size", "crops", "made", "with_odd_scores"]

ALPHA, QHAT, IGNORE = 0.05, 0.3, 255


@dataclass(frozen=True)
class Size:
    """Of a batch of maps."""

    images: int
    classes: int
    height: int
    width: int


def made(size: Size, dtype: torch.dtype, device: str) -> tuple[Tensor, Tensor]:
    """Smooth probability maps, and labels of which some are wrong and some ignored."""
    draw = torch.Generator(device).manual_seed(0)
    pixels = (size.height, size.width)
    maps = torch.empty((size.images, size.classes, *pixels), dtype=dtype, device=device)
    labels = torch.empty((size.images, *pixels), dtype=torch.uint8, device=device)
    coarse = (1, size.classes, size.height // 16 + 2, size.width // 16 + 2)
    for image, label in zip(maps, labels):
        logits = 4 * torch.randn(coarse, generator=draw, device=device)
        smooth = F.interpolate(logits, size=pixels, mode="bilinear")[0].softmax(0)
        chance = torch.rand(pixels, generator=draw, device=device)
        random = torch.randint(size.classes, pixels, generator=draw, device=device)
        truth = torch.where(chance < 0.1, random, smooth.argmax(0))
        label.copy_(truth.masked_fill_(chance > 0.95, IGNORE))
        image.copy_(smooth)
    return maps, labels


def with_odd_scores(maps: Tensor) -> Tensor:
    """The maps with scores of 0, -0 and 1, and classes that have the same score."""
    maps = maps.clone()
    maps[:, :, 0] = 0.0
    maps[:, 1, 0, ::2] = -0.0
    maps[:, 2, 0, ::3] = 1.0
    maps[:, :, 1] = maps[:, :1, 1]
    maps[:, 1:, 2] = maps[:, 1:2, 2]
    return maps


def crops(images: int, classes: int, crop: int, device: str) -> tuple[Tensor, Tensor, Tensor]:
    """Photos ``(2N, 3, H, W)``, true labels ``(N, H, W)`` and pseudo-labels, a third dropped."""
    draw = torch.Generator(device).manual_seed(1)
    photos = torch.rand((2 * images, 3, crop, crop), generator=draw, device=device)
    shape = (2 * images, crop, crop)
    labels = torch.randint(classes, shape, generator=draw, device=device)
    labels[torch.rand(shape, generator=draw, device=device) < 0.3] = IGNORE
    return photos, labels[:images], labels[images:]
