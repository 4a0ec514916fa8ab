"""UniMatch: two strong views with CutMix of their own, and the feature-perturbed weak view."""

from __future__ import annotations

from torch import Tensor

from conformal_plugin.adapters.views import ConformalViews, Targets

__all__ = ["UniMatchTerm"]

Views = tuple[Tensor, Tensor, Tensor]
"""Of strong view 1, strong view 2 and the feature-perturbed view."""


class UniMatchTerm(ConformalViews):
    """The losses on the three views: conformal in stage I, the host's own in stage II.

    The host weighs them, .25, .25 and .5, in the line that it has. See
    :class:`~conformal_plugin.adapters.views.ConformalViews` for the arguments.
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
