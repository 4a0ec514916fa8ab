"""Puts the conformal loss in the place of, or beside, a host's loss on one unlabelled view."""

from __future__ import annotations

from typing import NamedTuple, get_args

from torch import Tensor, nn

from conformal_plugin.adapters.loop._host_config import Mode
from conformal_plugin.errors import InputTypeError, OptionError
from conformal_plugin.training import ConformalSupervision, cutmix

__all__ = ["HOST_PADDING", "ConformalViews", "Targets"]

HOST_PADDING = 255
"""What the hosts' ``ignore_mask`` holds at padding; everywhere else it holds 0."""


class Targets(NamedTuple):
    """What one unlabelled view is supervised with.

    Attributes:
        pseudo: aligned pseudo-labels ``(N, H, W)``, int64, as the loader gives them.
        ignore_mask: the host's, ``(N, H, W)``, ``HOST_PADDING`` at padding.
    """

    pseudo: Tensor
    ignore_mask: Tensor

    def pasted(self, partner: Targets, box: Tensor) -> Targets:
        """With the partner's targets wherever ``box`` ``(N, H, W)`` is 1, on the box's device."""

        def mix(own: Tensor, other: Tensor) -> Tensor:
            device = box.device
            return cutmix(
                own.to(device, non_blocking=True), other.to(device, non_blocking=True), box
            )

        return Targets(mix(self.pseudo, partner.pseudo), mix(self.ignore_mask, partner.ignore_mask))


class ConformalViews(nn.Module):
    """What the adapters of all hosts share: one view's host loss in, its training loss out.

    A host's module derives from this class, pastes targets where the host pastes photos, and calls
    :meth:`settle` once a view. The host goes on to weigh and add the losses itself, so its weights
    and its order of summation stay its own.

    Args:
        supervise: the conformal term; its schedule says which stage an epoch is in. Without a
            schedule every epoch is stage I. Its ``denominator="valid"`` is the hosts' own: the
            count of pixels that are not padding.
        mode: ``"replace"``: stage I trains on conformal labels alone, as in the paper; ``"add"``:
            stage I adds the conformal term to the host's loss.

    Raises:
        InputTypeError: ``supervise`` is no :class:`~conformal_plugin.ConformalSupervision`.
        OptionError: an unknown mode.
    """

    def __init__(self, supervise: ConformalSupervision, *, mode: Mode = "replace") -> None:
        super().__init__()
        if not isinstance(supervise, ConformalSupervision):
            raise InputTypeError(
                f"expected a ConformalSupervision, but got {type(supervise).__name__}: wrap the "
                "criterion, as in ConformalSupervision(criterion_u, schedule=TwoStage(60, 80))"
            )
        if mode not in get_args(Mode):
            raise OptionError(f"expected mode 'replace' or 'add', but got {mode!r}")
        self.supervise = supervise
        self.mode = mode

    def is_hosts_turn(self, epoch: float | None) -> bool:
        """Whether an epoch is in stage II, where the host's losses stand as they are.

        Raises:
            OptionError: there is a schedule and no epoch to look up.
        """
        schedule = self.supervise.schedule
        if schedule is None:
            return False
        if epoch is None:
            raise OptionError("the schedule has two stages: pass the host's epoch=epoch")
        return schedule.stage(epoch) == 2

    def settle(
        self, host_loss: Tensor, logits: Tensor, targets: Targets, *, epoch: float | None
    ) -> Tensor:
        """The loss to train one view on.

        Args:
            host_loss: the host's loss on this view, a scalar. Where it is replaced it is not
                touched, so one that is NaN (the hosts divide 0 by 0) does no harm.
            logits: the model's output for this view, ``(N, K, H, W)``.
            targets: the view's own, with the partner's pasted in where there is CutMix.
            epoch: the host's epoch; needed where there is a schedule.

        Returns:
            In stage I a scalar in the graph, zero with finite gradients where nothing is kept (and
            ``mode`` is ``"replace"``). In stage II ``host_loss``, the same tensor.

        Raises:
            OptionError: there is a schedule and no epoch to look up.
        """
        if self.is_hosts_turn(epoch):
            return host_loss
        pseudo, ignore_mask = (t.to(logits.device, non_blocking=True) for t in targets)
        conformal: Tensor = self.supervise(
            logits, pseudo, epoch=epoch, valid=ignore_mask != HOST_PADDING
        )
        return host_loss + conformal if self.mode == "add" else conformal

    def rest(self, host_loss: Tensor, logits: Tensor, *, epoch: float | None) -> Tensor:
        """A self-training loss of the host's for which conformal labels have nothing to put in.

        Args:
            host_loss: the host's loss, a scalar. Where it rests it is not touched.
            logits: what it was computed from, any shape.
            epoch: the host's epoch; needed where there is a schedule.

        Returns:
            A zero in the graph of ``logits`` in stage I with ``mode="replace"``, else
            ``host_loss``, the same tensor.

        Raises:
            OptionError: there is a schedule and no epoch to look up.
        """
        if self.mode == "add" or self.is_hosts_turn(epoch):
            return host_loss
        return logits[:0].sum()  # of nothing, so it is 0 for infinite logits too
