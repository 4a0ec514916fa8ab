"""FixMatch-style hosts: one strong view, CutMix with a partner (UniMatch's ``fixmatch.py``)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from conformal_plugin.adapters.loop import ConformalViews, HostLoop, Targets, beside
from conformal_plugin.adapters.patching import loop_recipe

__all__ = ["RECIPES", "FixMatchLoop", "FixMatchTerm"]


class FixMatchTerm(ConformalViews):
    """The loss on the strong view: conformal in stage I, the host's own in stage II.

    See :class:`~conformal_plugin.adapters.loop.ConformalViews` for the arguments.
    """

    def forward(
        self,
        loss_u: Tensor,
        pred_u: Tensor,
        pseudo: Tensor,
        pseudo_mix: Tensor,
        cutmix_box: Tensor,
        ignore_mask: Tensor,
        ignore_mask_mix: Tensor,
        *,
        epoch: float | None = None,
    ) -> Tensor:
        """Give the host's loss on the strong view, get the loss to train on.

        Args:
            loss_u: the host's loss on the strong view, a scalar.
            pred_u: the logits of the CutMixed strong view, ``(N, K, H, W)``.
            pseudo: aligned pseudo-labels ``(N, H, W)`` int64 as the loader gives them, on any
                device.
            pseudo_mix: those of the CutMix partners.
            cutmix_box: ``(N, H, W)``, 1 where the partner was pasted.
            ignore_mask: ``(N, H, W)``, 255 at padding, before CutMix.
            ignore_mask_mix: that of the partners.
            epoch: the host's epoch; needed where there is a schedule.

        Returns:
            In stage II ``loss_u``, the same tensor.
        """
        own, partner = Targets(pseudo, ignore_mask), Targets(pseudo_mix, ignore_mask_mix)
        return self.settle(loss_u, pred_u, own.pasted(partner, cutmix_box), epoch=epoch)


class FixMatchLoop(HostLoop[Tensor]):
    """The loop of UniMatch's ``fixmatch.py``: the loss on ``pred_u_s``, and that prediction."""

    term = FixMatchTerm

    def settle(self, losses: Tensor, preds: Tensor, parts: Sequence[Any]) -> Tensor:
        """See :meth:`~conformal_plugin.adapters.loop.HostLoop.settle`."""
        _, _, _, ignore_mask, cutmix_box, _, pseudo = parts[0]
        _, _, _, ignore_mask_mix, _, _, pseudo_mix = parts[1]
        targets = beside(preds, pseudo, pseudo_mix, cutmix_box, ignore_mask, ignore_mask_mix)
        loss: Tensor = self.conformal(losses, preds, *targets, epoch=self.epoch)
        return loss


RECIPES = (
    loop_recipe(
        FixMatchLoop,
        host="UniMatch",
        script="fixmatch.py",
        losses=("loss_u_s",),
        preds=("pred_u_s",),
        beside=("loss_x",),
        sample=("_", "_", "_", "ignore_mask", "cutmix_box", "_"),
        tells=("img_u_w_mix",),
        lacks=("model_ema",),
    ),
)
