"""AllSpark: one prediction per unlabelled photo, against the model's own argmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from conformal_plugin.adapters.loop import HOST_PADDING, ConformalViews, HostLoop, Targets, beside
from conformal_plugin.adapters.patching import loop_recipe

__all__ = ["PADDING", "RECIPES", "AllSparkLoop", "AllSparkTerm"]

PADDING = -1
"""Padding's label, as the host's samples are bare photos that do not tell where it is."""


class AllSparkTerm(ConformalViews):
    """The loss on unlabelled photos: conformal in stage I, the host's own in stage II.

    The host's loss is a mean over all pixels of the crop, padding included, since it cannot tell
    it apart. The conformal term is a mean over the pixels of photos: padding is in neither the sum
    nor the count, as with the other hosts, so that a small photo's labels weigh as much as a large
    one's. See :class:`~conformal_plugin.adapters.loop.ConformalViews` for the arguments.
    """

    def forward(
        self, loss_u: Tensor, pred_u: Tensor, pseudo: Tensor, *, epoch: float | None = None
    ) -> Tensor:
        """Give the host's unlabelled loss, get the loss to train on.

        Args:
            loss_u: the host's loss on the unlabelled photos, a scalar.
            pred_u: their logits, ``(N, K, H, W)``.
            pseudo: aligned pseudo-labels ``(N, H, W)`` int64, :data:`PADDING` at padding.
            epoch: the host's epoch; needed where there is a schedule.

        Returns:
            In stage II ``loss_u``, the same tensor.
        """
        ignore_mask = torch.where(pseudo == PADDING, HOST_PADDING, 0)
        return self.settle(loss_u, pred_u, Targets(pseudo, ignore_mask), epoch=epoch)


class AllSparkLoop(HostLoop[Tensor]):
    """The loop of both AllSpark scripts: the unlabelled loss, and its prediction."""

    term = AllSparkTerm
    padding = PADDING

    def host_part(self, part: Sequence[Any]) -> Any:
        """The batch of photos alone: the host's data set gives no tuple."""
        return part[0]

    def settle(self, losses: Tensor, preds: Tensor, parts: Sequence[Any]) -> Tensor:
        """See :meth:`~conformal_plugin.adapters.loop.HostLoop.settle`."""
        _, pseudo = parts[0]
        loss: Tensor = self.conformal(losses, preds, *beside(preds, pseudo), epoch=self.epoch)
        return loss


RECIPES = (
    loop_recipe(
        AllSparkLoop,
        host="AllSpark",
        script="train_baseline_semi.py",
        losses=("loss_u_w_fp",),
        preds=("pred_u",),
        beside=("loss_x",),
        sample=(),
        tells=("pseudo_label",),
    ),
    loop_recipe(
        AllSparkLoop,
        host="AllSpark",
        script="train_allspark.py",
        losses=("loss_u",),
        preds=("pred_u",),
        beside=("loss_x",),
        sample=(),
        tells=("pseudo_label",),
    ),
)
