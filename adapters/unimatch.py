"""UniMatch: two strong views with CutMix of their own, and the feature-perturbed weak view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from conformal_plugin.adapters.loop import ConformalViews, HostLoop, Targets, beside
from conformal_plugin.adapters.patching import loop_recipe

__all__ = ["RECIPES", "UniMatchLoop", "UniMatchTerm"]

Views = tuple[Tensor, Tensor, Tensor]
"""Of strong view 1, strong view 2 and the feature-perturbed view."""


class UniMatchTerm(ConformalViews):
    """The losses on the three views: conformal in stage I, the host's own in stage II.

    The host weighs them, .25, .25 and .5, in the line that it has. See
    :class:`~conformal_plugin.adapters.loop.ConformalViews` for the arguments.
    """

    def forward(
        self,
        losses: Views,
        preds: Views,
        pseudo: Tensor,
        pseudo_mix: Tensor,
        cutmix_boxes: tuple[Tensor, Tensor],
        ignore_mask: Tensor,
        ignore_mask_mix: Tensor,
        *,
        epoch: float | None = None,
    ) -> Views:
        """Give the host's three unlabelled losses, get the three to train on.

        Args:
            losses: the host's losses on strong view 1, strong view 2 and the feature-perturbed
                view, scalars.
            preds: the logits of these views, ``(N, K, H, W)`` each.
            pseudo: aligned pseudo-labels ``(N, H, W)`` int64 as the loader gives them, on any
                device.
            pseudo_mix: those of the CutMix partners.
            cutmix_boxes: of strong views 1 and 2, ``(N, H, W)`` each, 1 where the partner was
                pasted. The feature-perturbed view has no CutMix.
            ignore_mask: ``(N, H, W)``, 255 at padding, before CutMix.
            ignore_mask_mix: that of the partners.
            epoch: the host's epoch; needed where there is a schedule.

        Returns:
            Three scalars in the order of ``losses``; in stage II the tensors given.
        """
        own, partner = Targets(pseudo, ignore_mask), Targets(pseudo_mix, ignore_mask_mix)
        (loss_s1, loss_s2, loss_fp), (pred_s1, pred_s2, pred_fp) = losses, preds
        box1, box2 = cutmix_boxes
        return (
            self.settle(loss_s1, pred_s1, own.pasted(partner, box1), epoch=epoch),
            self.settle(loss_s2, pred_s2, own.pasted(partner, box2), epoch=epoch),
            self.settle(loss_fp, pred_fp, own, epoch=epoch),
        )


class UniMatchLoop(HostLoop[Views]):
    """The loop of UniMatch's ``unimatch.py``: three losses and the predictions of their views."""

    term = UniMatchTerm

    def settle(self, losses: Views, preds: Views, parts: Sequence[Any]) -> Views:
        """See :meth:`~conformal_plugin.adapters.loop.HostLoop.settle`."""
        _, _, _, ignore_mask, box1, box2, pseudo = parts[0]
        _, _, _, ignore_mask_mix, _, _, pseudo_mix = parts[1]
        pseudo, pseudo_mix, box1, box2, ignore_mask, ignore_mask_mix = beside(
            preds[0], pseudo, pseudo_mix, box1, box2, ignore_mask, ignore_mask_mix
        )
        settled: Views = self.conformal(
            losses,
            preds,
            pseudo,
            pseudo_mix,
            (box1, box2),
            ignore_mask,
            ignore_mask_mix,
            epoch=self.epoch,
        )
        return settled


RECIPES = (
    loop_recipe(
        UniMatchLoop,
        host="UniMatch",
        script="unimatch.py",
        losses=("loss_u_s1", "loss_u_s2", "loss_u_w_fp"),
        preds=("pred_u_s1", "pred_u_s2", "pred_u_w_fp"),
        beside=("loss_x",),
        sample=("_", "_", "_", "ignore_mask", "cutmix_box1", "cutmix_box2"),
        tells=("img_u_w_mix",),
    ),
)
