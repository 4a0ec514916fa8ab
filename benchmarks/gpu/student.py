"""A small convolutional network whose logits have the photos' size, as those of the hosts."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Student"]


class Student(nn.Module):
    """Strided convolutions down to an eighth, a classifier, and logits brought back up."""

    def __init__(self, classes: int, width: int = 64) -> None:
        super().__init__()
        widths = (3, width, 2 * width, 4 * width, 4 * width, 4 * width)
        self.body = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, 3, stride=2 if i < 3 else 1, padding=1, bias=False),
                    nn.BatchNorm2d(after),
                    nn.ReLU(inplace=True),
                )
                for i, (before, after) in enumerate(pairwise(widths))
            )
        )
        self.head = nn.Conv2d(widths[-1], classes, 1)

    def forward(self, photos: Tensor) -> Tensor:
        """``(N, 3, H, W)`` to ``(N, K, H, W)``."""
        logits = self.head(self.body(photos))
        return F.interpolate(logits, size=photos.shape[2:], mode="bilinear", align_corners=False)
