"""The softmax over many classes at a photo's size, of which a few classes are kept."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

__all__ = ["class_shares"]

_VALUES = {"cpu": 2**20, "cuda": 2**27}
"""Scores of a strip: what stays in a core's cache, or keeps a GPU busy."""


def class_shares(logits: Tensor, members: Sequence[Sequence[int]], size: tuple[int, int]) -> Tensor:
    """For each wanted class the sum of its members' shares, at another size.

    As the softmax over all classes of the resized logits (bilinear, corners not aligned), in strips
    of rows: all classes at the size of the photo never lie in memory together.

    Args:
        logits: ``(C, h, w)`` float32, of the model's classes.
        members: per wanted class, indices of the model's.
        size: height and width of the result.

    Returns:
        ``(K, H, W)``, in [0, 1] but for rounding.
    """
    height, width = size
    wide = interpolate(logits[None], (logits.shape[1], width), mode="bilinear")[0]
    above, below, weight = _between(logits.shape[1], height, logits)
    shares = logits.new_empty(len(members), height, width)
    rows = max(1, _VALUES.get(logits.device.type, _VALUES["cpu"]) // (len(logits) * width))
    for top in range(0, height, rows):
        strip = slice(top, top + rows)
        between = torch.lerp(wide[:, above[strip]], wide[:, below[strip]], weight[strip, None])
        all_shares = between.softmax(dim=0)
        for share, indices in zip(shares, members):
            share[strip] = all_shares[list(indices)].sum(dim=0)
    return shares


def _between(rows: int, height: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each row of the result the rows that it lies between, and how near to the second."""
    places = (torch.arange(height, dtype=like.dtype, device=like.device) + 0.5) * (rows / height)
    places = (places - 0.5).clamp(min=0)
    above = places.long().clamp(max=rows - 1)
    return above, (above + 1).clamp(max=rows - 1), places - above
