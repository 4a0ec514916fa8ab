"""UniMatch-V2: an EMA teacher, strong views that are CutMixed with the batch in reverse order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from conformal_plugin.adapters.loop import ConformalViews, HostLoop, Targets, beside
from conformal_plugin.adapters.patching import loop_recipe

__all__ = ["RECIPES", "FixMatchV2Loop", "FixMatchV2Term", "UniMatchV2Loop", "UniMatchV2Term"]

TwoViews = tuple[Tensor, Tensor]
"""Of strong view 1 and strong view 2."""


class FixMatchV2Term(ConformalViews):
    """The loss on the strong view: conformal in stage I, the host's own in stage II.

    See :class:`~conformal_plugin.adapters.loop.ConformalViews` for the arguments.
    """

    def forward(
        self,
        loss_u: Tensor,
        pred_u: Tensor,
        pseudo: Tensor,
        cutmix_box: Tensor,
        ignore_mask: Tensor,
        *,
        epoch: float | None = None,
    ) -> Tensor:
        """Give the host's loss on the strong view, get the loss to train on.

        Args:
            loss_u: the host's loss on the strong view, a scalar.
            pred_u: the logits of the CutMixed strong view, ``(N, K, H, W)``.
            pseudo: aligned pseudo-labels ``(N, H, W)`` int64 as the loader gives them.
            cutmix_box: ``(N, H, W)``, 1 where the partner was pasted, which is the photo at the
                same place of the reversed batch.
            ignore_mask: ``(N, H, W)``, 255 at padding, before CutMix.
            epoch: the host's epoch; needed where there is a schedule.

        Returns:
            In stage II ``loss_u``, the same tensor.
        """
        mixed = _mixed(Targets(pseudo, ignore_mask), cutmix_box)
        return self.settle(loss_u, pred_u, mixed, epoch=epoch)


class UniMatchV2Term(ConformalViews):
    """The losses on both strong views: conformal in stage I, the host's own in stage II.

    The host takes their mean in the line that it has. See
    :class:`~conformal_plugin.adapters.loop.ConformalViews` for the arguments.
    """

    def forward(
        self,
        losses: TwoViews,
        preds: TwoViews,
        pseudo: Tensor,
        cutmix_boxes: TwoViews,
        ignore_mask: Tensor,
        *,
        epoch: float | None = None,
    ) -> TwoViews:
        """Give the host's two unlabelled losses, get the two to train on.

        Args:
            losses: the host's losses on strong views 1 and 2, scalars.
            preds: the logits of these views, ``(N, K, H, W)`` each.
            pseudo: aligned pseudo-labels ``(N, H, W)`` int64 as the loader gives them.
            cutmix_boxes: of strong views 1 and 2, ``(N, H, W)`` each, 1 where the partner was
                pasted, which is the photo at the same place of the reversed batch.
            ignore_mask: ``(N, H, W)``, 255 at padding, before CutMix.
            epoch: the host's epoch; needed where there is a schedule.

        Returns:
            Two scalars in the order of ``losses``; in stage II the tensors given.
        """
        own = Targets(pseudo, ignore_mask)
        (loss_s1, loss_s2), (pred_s1, pred_s2), (box1, box2) = losses, preds, cutmix_boxes
        return (
            self.settle(loss_s1, pred_s1, _mixed(own, box1), epoch=epoch),
            self.settle(loss_s2, pred_s2, _mixed(own, box2), epoch=epoch),
        )


class FixMatchV2Loop(HostLoop[Tensor]):
    """The loop of UniMatch-V2's ``fixmatch.py``: the loss on ``pred_u_s``, and that prediction."""

    term = FixMatchV2Term

    def settle(self, losses: Tensor, preds: Tensor, parts: Sequence[Any]) -> Tensor:
        """See :meth:`~conformal_plugin.adapters.loop.HostLoop.settle`."""
        _, _, _, ignore_mask, cutmix_box, _, pseudo = parts[0]
        targets = beside(preds, pseudo, cutmix_box, ignore_mask)
        loss: Tensor = self.conformal(losses, preds, *targets, epoch=self.epoch)
        return loss


class UniMatchV2Loop(HostLoop[TwoViews]):
    """The loop of ``unimatch_v2.py``: two losses and the predictions of their views."""

    term = UniMatchV2Term

    def settle(self, losses: TwoViews, preds: TwoViews, parts: Sequence[Any]) -> TwoViews:
        """See :meth:`~conformal_plugin.adapters.loop.HostLoop.settle`."""
        _, _, _, ignore_mask, box1, box2, pseudo = parts[0]
        pseudo, box1, box2, ignore_mask = beside(preds[0], pseudo, box1, box2, ignore_mask)
        settled: TwoViews = self.conformal(
            losses, preds, pseudo, (box1, box2), ignore_mask, epoch=self.epoch
        )
        return settled


def _mixed(own: Targets, box: Tensor) -> Targets:
    """With the reversed batch pasted, as the host's ``x.flip(0)`` does."""
    return own.pasted(Targets(own.pseudo.flip(0), own.ignore_mask.flip(0)), box)


RECIPES = (
    loop_recipe(
        FixMatchV2Loop,
        host="UniMatch-V2",
        script="fixmatch.py",
        losses=("loss_u_s",),
        preds=("pred_u_s",),
        beside=("loss_x",),
        sample=("_", "_", "_", "ignore_mask", "cutmix_box", "_"),
        tells=("model_ema",),
        lacks=("img_u_w_mix",),
    ),
    loop_recipe(
        UniMatchV2Loop,
        host="UniMatch-V2",
        script="unimatch_v2.py",
        losses=("loss_u_s1", "loss_u_s2"),
        preds=("pred_u_s1", "pred_u_s2"),
        beside=(),
        sample=("_", "_", "_", "ignore_mask", "cutmix_box1", "cutmix_box2"),
        added_up="loss_u_s",
        tells=("model_ema",),
        lacks=("img_u_w_mix",),
    ),
)
