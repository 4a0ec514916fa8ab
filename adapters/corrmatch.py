"""CorrMatch: outputs and correlation heads of a strong, a weak and a feature-perturbed view."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from conformal_plugin.adapters.loop import ConformalViews, HostLoop, Targets, beside
from conformal_plugin.adapters.patching import loop_recipe

__all__ = ["RECIPES", "CorrMatchLoop", "CorrMatchTerm"]

Four = tuple[Tensor, Tensor, Tensor, Tensor]


class CorrMatchTerm(ConformalViews):
    """The four unlabelled losses: conformal in stage I, the host's own in stage II.

    The strong view and its correlation head learn CutMixed labels, the weak view's correlation head
    and the feature-perturbed output those of the view itself. The host's correlation loss is the
    mean of its two heads, and so is the conformal one. The divergence between the weak and the
    strong view is self-training without labels: it rests in stage I, or goes on in mode ``"add"``.
    The host weighs the four in the line that it has. See
    :class:`~conformal_plugin.adapters.loop.ConformalViews` for the arguments.
    """

    def forward(
        self,
        losses: Four,
        preds: Four,
        pseudo: Tensor,
        pseudo_mix: Tensor,
        cutmix_box: Tensor,
        ignore_mask: Tensor,
        ignore_mask_mix: Tensor,
        *,
        epoch: float | None = None,
    ) -> Four:
        """Give the host's four unlabelled losses, get the four to train on.

        Args:
            losses: the host's losses on the strong view, on the correlation heads (one scalar for
                both), of the divergence, and on the feature-perturbed output, scalars.
            preds: the logits of the strong view, of its correlation head, of the weak view's
                correlation head, and of the feature-perturbed output, ``(N, K, H, W)`` each.
            pseudo: aligned pseudo-labels ``(N, H, W)`` int64 as the loader gives them.
            pseudo_mix: those of the CutMix partners.
            cutmix_box: ``(N, H, W)``, 1 where the partner was pasted into the strong view.
            ignore_mask: ``(N, H, W)``, 255 at padding, before CutMix.
            ignore_mask_mix: that of the partners.
            epoch: the host's epoch; needed where there is a schedule.

        Returns:
            Four scalars in the order of ``losses``; in stage II the tensors given.
        """
        if self.is_hosts_turn(epoch):
            return losses
        loss_s1, loss_corr, loss_kl, loss_fp = losses
        pred_s1, pred_s1_corr, pred_w_corr, pred_fp = preds
        own = Targets(pseudo, ignore_mask)
        mixed = own.pasted(Targets(pseudo_mix, ignore_mask_mix), cutmix_box)
        strong_corr = self.settle(loss_corr, pred_s1_corr, mixed, epoch=epoch)
        weak_corr = self.settle(loss_corr, pred_w_corr, own, epoch=epoch)
        return (
            self.settle(loss_s1, pred_s1, mixed, epoch=epoch),
            0.5 * (strong_corr + weak_corr),
            self.rest(loss_kl, pred_s1, epoch=epoch),
            self.settle(loss_fp, pred_fp, own, epoch=epoch),
        )


class CorrMatchLoop(HostLoop[Four]):
    """The loop of ``corrmatch.py``: four losses, and the predictions that labels supervise."""

    term = CorrMatchTerm

    def settle(self, losses: Four, preds: Four, parts: Sequence[Any]) -> Four:
        """See :meth:`~conformal_plugin.adapters.loop.HostLoop.settle`."""
        _, _, _, ignore_mask, cutmix_box, _, pseudo = parts[0]
        _, _, _, ignore_mask_mix, _, _, pseudo_mix = parts[1]
        targets = beside(preds[0], pseudo, pseudo_mix, cutmix_box, ignore_mask, ignore_mask_mix)
        settled: Four = self.conformal(losses, preds, *targets, epoch=self.epoch)
        return settled


_START_WITH_TORCHRUN = (
    "the threshold calls torch.distributed when it is made and at every step: start the script "
    "with torchrun, also on one GPU (torchrun --nproc_per_node=1)"
)
_CHOOSES_GPUS = (
    "the script chooses the GPUs itself, whatever is set outside: delete the line, or write the "
    "GPUs that you mean"
)
_TRAPS = (
    (
        r"ThreshController\(.*nclass\s*=\s*(?P<nclass>\d+)",
        "the number of classes is written into the script: replace it by cfg['nclass']",
    ),
    (r"ThreshController\(", _START_WITH_TORCHRUN),
    (r"os\.environ\[.CUDA_VISIBLE_DEVICES.\]\s*=", _CHOOSES_GPUS),
)

RECIPES = (
    loop_recipe(
        CorrMatchLoop,
        host="CorrMatch",
        script="corrmatch.py",
        losses=("loss_u_s1", "loss_u_corr", "loss_u_kl", "loss_u_w_fp"),
        preds=("pred_u_s1", "pred_u_s1_corr", "pred_u_w_corr", "pred_u_w_fp"),
        beside=("loss_x", "loss_x_corr"),
        sample=("_", "_", "_", "ignore_mask", "cutmix_box1", "_"),
        traps=_TRAPS,
    ),
)
