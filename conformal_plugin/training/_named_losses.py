"""Losses by name: each leaves dropped pixels out, whatever else it is made of.

The losses of segmentation libraries want labels with a channel axis or one-hot labels, and most
have no label that they skip. Cutting the kept pixels out for them would ask the device how many
there are. What is here are sums over the kept pixels instead, which tests hold to MONAI's values;
overlaps of other kinds are taken from the libraries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from conformal_plugin.errors import OptionError
from conformal_plugin.training._library_losses import LIBRARY_LOSSES, library_loss

__all__ = ["LOSSES", "NamedLoss"]

_SOFTMAX: Final = ("ce", "focal", "dice")
_SIGMOID: Final = ("bce", "sigmoid-focal", "sigmoid-dice")
LOSSES: Final = (*_SOFTMAX, *_SIGMOID)
"""The names, of which several can be added up: ``"ce+dice"``."""
_PER_PIXEL: Final = ("ce", "focal", "bce", "sigmoid-focal")

_OF_SIGMOIDS: Final = "sigmoid-"
_GAMMA: Final = 2.0
_SMOOTH: Final = 1e-5


class NamedLoss(nn.Module):
    """The sum of one loss or several, on the pixels that are not labelled ``ignore_index``.

    One value per pixel where every part has that, else their mean over the kept pixels with the
    overlaps.

    - ``"ce"``: cross-entropy. ``"bce"``: binary cross-entropy of each class against all others,
      the mean over the classes.
    - ``"focal"``, ``"sigmoid-focal"``: the same, times ``(1 - p)^2``, p the probability of what is
      true (arXiv 1708.02002, gamma 2, no alpha).
    - ``"dice"``, ``"sigmoid-dice"``: ``1 - (2 sum p y + 1e-5) / (sum p + sum y + 1e-5)`` over the
      kept pixels of the batch, the mean over the classes (arXiv 1606.04797 without squares, as
      MONAI's ``DiceLoss(batch=True)``).
    - ``"smp:dice"``, ``"monai:tversky"`` and the others of ``LIBRARY_LOSSES``: that class of
      segmentation_models.pytorch or MONAI, with its own defaults, over the kept pixels of the
      batch; ``"smp:sigmoid-dice"`` of sigmoids.

    Args:
        name: names joined by ``+``, all of a softmax or all of sigmoids.
        ignore_index: label of dropped pixels.

    Attributes:
        sigmoid: whether every channel is a binary head; one channel alone is then class 1 of two.

    Raises:
        OptionError: an unknown name, or a sum of both kinds.
        MissingExtraError: the library of a name is not installed.
    """

    def __init__(self, name: str, ignore_index: int) -> None:
        super().__init__()
        self.name = name
        self.ignore_index = ignore_index
        self.parts = tuple(part.strip() for part in name.split("+"))
        known = (*LOSSES, *LIBRARY_LOSSES)
        if any(part not in known and _plain(part) not in LIBRARY_LOSSES for part in self.parts):
            raise OptionError(
                f"a loss by name is one of {', '.join(LOSSES)}, or a sum such as 'ce+dice', got "
                f"{name!r}; segmentation libraries have {', '.join(LIBRARY_LOSSES)} (of sigmoids "
                f"'smp:sigmoid-dice' and so on); pass any other as a callable criterion(logits, "
                f"target)"
            )
        self.sigmoid = _is_of_sigmoids(self.parts[0])
        if any(_is_of_sigmoids(part) != self.sigmoid for part in self.parts):
            raise OptionError(
                f"{name!r} adds losses of a softmax ({', '.join(_SOFTMAX)}) to losses of sigmoids "
                f"({', '.join(_SIGMOID)}), which one head cannot be both of; take all of one kind"
            )
        self._overlaps: list[Callable[[Tensor, Tensor], Tensor]] = [
            library_loss(_plain(part)) if ":" in part else _dice
            for part in self.parts
            if part not in _PER_PIXEL
        ]

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of ``(N, K, ...)`` logits and an int64 ``(N, ...)`` target."""
        keep = target != self.ignore_index
        values = [part for part in self.parts if part in _PER_PIXEL]
        total = torch.zeros((), device=logits.device)
        for part in values:
            total = total + self._values(part, logits, target)
        if not self._overlaps:
            return total
        if values:
            total = torch.where(keep, total, 0).sum() / keep.sum().clamp(min=1)
        kept = keep.unsqueeze(1)
        scores = torch.where(kept, logits.sigmoid() if self.sigmoid else logits.softmax(1), 0)
        truth = _one_hot(target, logits) * kept
        for overlap in self._overlaps:
            total = total + overlap(scores, truth)
        return total

    def extra_repr(self) -> str:
        """The options, in the module's ``repr``."""
        return f"{self.name!r}, ignore_index={self.ignore_index}"

    def _values(self, part: str, logits: Tensor, target: Tensor) -> Tensor:
        """A value per pixel, of the target's shape."""
        if self.sigmoid:
            truth = _one_hot(target, logits)
            losses = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        else:
            losses = F.cross_entropy(
                logits, target, ignore_index=self.ignore_index, reduction="none"
            )
        if part.endswith("focal"):
            losses = losses * (1 - torch.exp(-losses)) ** _GAMMA
        return losses.mean(1) if self.sigmoid else losses


def _dice(scores: Tensor, truth: Tensor) -> Tensor:
    """Of scores and one-hot classes that are zero where dropped; the mean over the classes."""
    axes = (0, *range(2, scores.ndim))
    overlap, both = (scores * truth).sum(axes), (scores + truth).sum(axes)
    return (1 - (2 * overlap + _SMOOTH) / (both + _SMOOTH)).mean()


def _is_of_sigmoids(part: str) -> bool:
    return part == "bce" or _OF_SIGMOIDS in part


def _plain(part: str) -> str:
    """The name of a library's loss, whatever the head."""
    return part.replace(f":{_OF_SIGMOIDS}", ":")


def _one_hot(target: Tensor, logits: Tensor) -> Tensor:
    """Of the shape of the logits; a lone channel is that of class 1."""
    channels = logits.shape[1]
    classes = torch.arange(channels, device=target.device) + int(channels == 1)
    classes = classes.view(-1, *(1,) * (logits.ndim - 2))
    return (target.unsqueeze(1) == classes).to(logits.dtype)
