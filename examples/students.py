"""The networks that the quickstart trains: a small one, and one with ImageNet weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conformal_plugin.rehearsing import efficientnet_lite0

__all__ = ["PretrainedStudent", "SmallStudent"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class SmallStudent(nn.Module):
    """A U-shaped network of a hundred thousand weights: photos ``(N, 3, H, W)`` in, logits out."""

    def __init__(self, num_classes: int, width: int = 16):
        super().__init__()
        self.fine = nn.Sequential(_block(3, width, 2), _block(width, width))
        self.middle = nn.Sequential(_block(width, 2 * width, 2), _block(2 * width, 2 * width))
        self.coarse = nn.Sequential(
            _block(2 * width, 4 * width, 2),
            _block(4 * width, 4 * width),
            _block(4 * width, 2 * width),
        )
        self.up_middle = _block(4 * width, width)
        self.up_fine = _block(2 * width, width)
        self.head = nn.Conv2d(width, num_classes, 1)

    def forward(self, photos: Tensor) -> Tensor:
        """Map photos ``(N, 3, H, W)`` in [0, 1] to logits ``(N, K, H, W)``."""
        fine = self.fine(photos * 4 - 2)
        middle = self.middle(fine)
        coarse = self.coarse(middle)
        middle = self.up_middle(torch.cat([middle, _like(coarse, middle)], 1))
        fine = self.up_fine(torch.cat([fine, _like(middle, fine)], 1))
        return _like(self.head(fine), photos)


class PretrainedStudent(nn.Module):
    """An efficientnet-lite0 encoder with ImageNet weights and three lateral 1x1 convolutions."""

    # The last block of the encoder at strides 8, 16 and 32, and its channels.
    TAPS = ((4, 40), (10, 112), (15, 320))

    def __init__(self, num_classes: int, width: int = 128):
        super().__init__()
        encoder = efficientnet_lite0("pass --student small")
        self.stem, self.stem_norm = encoder._conv_stem, encoder._bn0
        self.blocks = encoder._blocks
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for _, channels in self.TAPS)
        self.head = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(inplace=True), nn.Conv2d(width, num_classes, 1)
        )
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, photos: Tensor) -> Tensor:
        """Map photos ``(N, 3, H, W)`` in [0, 1] to logits ``(N, K, H, W)``."""
        taps = [tap for tap, _ in self.TAPS]
        pyramid = []
        x = F.relu6(self.stem_norm(self.stem((photos - self.mean) / self.std)))
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in taps:
                pyramid.append(self.lateral[taps.index(index)](x))
        merged = pyramid[-1]
        for finer in reversed(pyramid[:-1]):
            merged = finer + _like(merged, finer)
        return _like(self.head(merged), photos)


def _like(x: Tensor, target: Tensor) -> Tensor:
    """Resize ``x`` to the height and width of ``target``."""
    return F.interpolate(x, size=target.shape[-2:], mode="bilinear", align_corners=False)
