"""At most a share of each image keeps a label: the foreground first, then the surest."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.calibration import Calibration
from conformal_plugin.scores import ScoreGrid, grid_of

__all__ = ["Cap", "cap_of", "cap_settings", "most_kept", "spread_order"]


@dataclass(frozen=True)
class Cap:
    """At most a share of each image's pixels keep their label.

    Under the foreground-first rule labels of the foreground come first, and of these, as of all
    labels under the other rules, those with the highest scores. Among equal scores the pixels in
    the order of :func:`spread_order` come first, so that what is kept is the same everywhere.

    Attributes:
        share: in (0, 1], of the image's height times width; rounded down.
        of: ``"all"``, or ``"foreground"`` where only labels other than the background's count and
            may be dropped.
    """

    share: float
    of: str = "all"

    def applied(
        self, labels: Tensor, scores: Tensor, *, rule: str, background: int, ignore_index: int
    ) -> Tensor:
        """The labels ``(N, H, W)`` that stay; nothing is read back from the device.

        Args:
            labels: of whole images, as ``rule`` picks them.
            scores: the images' class scores ``(N, K, H, W)``.
            rule, background, ignore_index: as in :func:`conformal_plugin.filter`.
        """
        pixels = labels[0].numel() if len(labels) else 0
        most = most_kept(self.share, pixels)
        if most >= pixels:
            return labels
        flat = labels.reshape(len(labels), pixels)
        counts = flat != ignore_index
        if self.of == "foreground":
            counts &= flat != background
        ranks = _ranks(flat, scores.flatten(2), counts, rule == "foreground-first", background)
        stays = _highest(ranks, most)
        return flat.masked_fill(counts & ~stays, ignore_index).reshape(labels.shape)


def cap_of(qhat: Any) -> Cap | None:
    """The cap of a calibration; None where there is none."""
    if isinstance(qhat, Calibration) and qhat.cap is not None:
        return Cap(qhat.cap, qhat.of)
    return None


def cap_settings(qhat: Any) -> dict[str, Any]:
    """What labels depend on because of a cap, as plain values; empty where there is none."""
    cap = cap_of(qhat)
    return {} if cap is None else {"cap": cap.share, "of": cap.of}


def most_kept(share: Any, pixels: Any) -> Any:
    """How many of an image's pixels may keep their label: an integer, or an array of them.

    Args:
        share: one or several, in (0, 1].
        pixels: height times width, one or several.
    """
    most = np.floor(np.multiply(share, pixels, dtype=np.float64)).astype(np.int64)
    return most if most.ndim else int(most)


def spread_order(pixels: int) -> tuple[Tensor, Tensor]:
    """An order of an image's pixels that is spread over it, and each pixel's place in it.

    Steps of the golden section through the rows: of the first so many, every part of the image
    holds about its share. Scores tie by the thousand (a pixel of plain sky is background with score
    1), and the first pixels of a photo are its upper edge.

    Args:
        pixels: how many there are.

    Returns:
        Two int64 tensors ``(pixels,)`` on the CPU, each the inverse of the other.
    """
    step = max(1, round(pixels * (math.sqrt(5) - 1) / 2))
    while math.gcd(step, pixels) != 1:
        step += 1
    places = torch.arange(pixels)
    return places * step % pixels, places * pow(step, -1, pixels) % pixels


def _ranks(
    labels: Tensor, scores: Tensor, counts: Tensor, foreground_first: bool, background: int
) -> Tensor:
    """Integers that order the labels that count as their scores do; 0 for the others."""
    grid: ScoreGrid = grid_of(scores)
    named = labels.long().masked_fill(~counts, 0).unsqueeze(1)
    ranks = 1 + grid.patterns(scores.gather(1, named)[:, 0].contiguous())
    if foreground_first:  # any score of the foreground is above any of the background
        ranks = ranks + (labels != background).to(ranks.dtype) * (grid.top + 1)
    return ranks.masked_fill(~counts, 0)


def _highest(ranks: Tensor, most: int) -> Tensor:
    """Of each row ``(N, pixels)``, which are the ``most`` highest; no more than there are."""
    if not most:
        return torch.zeros_like(ranks, dtype=torch.bool)
    pixels = ranks.shape[1]
    last = ranks.kthvalue(pixels - most + 1, dim=1, keepdim=True).values
    above = ranks > last
    order, place = (each.to(ranks.device) for each in spread_order(pixels))
    equal = ranks == last
    room = most - above.sum(dim=1, keepdim=True)
    in_turn = equal[:, order].cumsum(dim=1) <= room
    return above | (equal & in_turn[:, place])
