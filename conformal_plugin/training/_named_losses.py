"""Losses by name: each leaves dropped pixels out, whatever else it is made of.

The losses of segmentation libraries want labels with a channel axis or one-hot labels, and most
have no label that they skip. Cutting the kept pixels out for them would ask the device how many
there are. What is here are sums over the kept pixels instead; tests hold them to MONAI's values.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from conformal_plugin.errors import OptionError

__all__ = ["LOSSES", "NamedLoss"]

_SOFTMAX: Final = ("ce", "focal", "dice")
_SIGMOID: Final = ("bce", "sigmoid-focal", "sigmoid-dice")
LOSSES: Final = (*_SOFTMAX, *_SIGMOID)
"""The names, of which several can be added up: ``"ce+dice"``."""

_GAMMA: Final = 2.0
_SMOOTH: Final = 1e-5


class NamedLoss(nn.Module):
    """The sum of one loss or several, on the pixels that are not labelled ``ignore_index``.

    One value per pixel where every part has that, else their mean over the kept pixels with Dice.

    - ``"ce"``: cross-entropy. ``"bce"``: binary cross-entropy of each class against all others,
      the mean over the classes.
    - ``"focal"``, ``"sigmoid-focal"``: the same, times ``(1 - p)^2``, p the probability of what is
      true (arXiv 1708.02002, gamma 2, no alpha).
    - ``"dice"``, ``"sigmoid-dice"``: ``1 - (2 sum p y + 1e-5) / (sum p + sum y + 1e-5)`` over the
      kept pixels of the batch, the mean over the classes (arXiv 1606.04797 without squares, as
      MONAI's ``DiceLoss(batch=True)``).

    Args:
        name: names joined by ``+``, all of a softmax or all of sigmoids.
        ignore_index: label of dropped pixels.

    Attributes:
        sigmoid: whether every channel is a binary head; one channel alone is then class 1 of two.

    Raises:
        OptionError: an unknown name, or a sum of both kinds.
    """

    def __init__(self, name: str, ignore_index: int) -> None:
        super().__init__()
        self.name = name
        self.ignore_index = ignore_index
        self.parts = tuple(part.strip() for part in name.split("+"))
        unknown = [part for part in self.parts if part not in LOSSES]
        if unknown:
            raise OptionError(
                f"a loss by name is one of {', '.join(LOSSES)}, or a sum such as 'ce+dice', got "
                f"{name!r}; pass any other as a callable criterion(logits, target)"
            )
        self.sigmoid = self.parts[0] in _SIGMOID
        if any((part in _SIGMOID) != self.sigmoid for part in self.parts):
            raise OptionError(
                f"{name!r} adds losses of a softmax ({', '.join(_SOFTMAX)}) to losses of sigmoids "
                f"({', '.join(_SIGMOID)}), which one head cannot be both of; take all of one kind"
            )

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """The loss of ``(N, K, ...)`` logits and an int64 ``(N, ...)`` target."""
        keep = target != self.ignore_index
        values = [part for part in self.parts if not part.endswith("dice")]
        total = sum((self._values(part, logits, target) for part in values), torch.zeros(()))
        if len(values) == len(self.parts):
            return total
        if values:
            total = torch.where(keep, total, 0).sum() / keep.sum().clamp(min=1)
        dices = len(self.parts) - len(values)
        return total + dices * self._dice(logits, target, keep)

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

    def _dice(self, logits: Tensor, target: Tensor, keep: Tensor) -> Tensor:
        kept = keep.unsqueeze(1)
        scores = torch.where(kept, logits.sigmoid() if self.sigmoid else logits.softmax(1), 0)
        truth = _one_hot(target, logits) * kept
        axes = (0, *range(2, logits.ndim))
        overlap, both = (scores * truth).sum(axes), (scores + truth).sum(axes)
        return (1 - (2 * overlap + _SMOOTH) / (both + _SMOOTH)).mean()


def _one_hot(target: Tensor, logits: Tensor) -> Tensor:
    """Of the shape of the logits; a lone channel is that of class 1."""
    channels = logits.shape[1]
    classes = torch.arange(channels, device=target.device) + int(channels == 1)
    classes = classes.view(-1, *(1,) * (logits.ndim - 2))
    return (target.unsqueeze(1) == classes).to(logits.dtype)
