"""The two stages of training: when conformal labels act, and how self-reliance is weighted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conformal_plugin.errors import InputTypeError, OptionError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["TwoStage", "check_epoch"]


@dataclass(frozen=True)
class TwoStage:
    """Stage I learns from conformal labels, stage II from the model's own (ConformalSAM).

    Epochs count from 0. Stage I is ``epoch < stage1``; all that follows is stage II. Iterations
    serve as well as epochs, as long as every number is in the same unit.

    The paper (arXiv 2507.15803, section 3) has stage II minimise ``(1 - lambda) L_s + lambda L_u``
    with an exponentially decaying lambda and does not say from where to where: 0.5 to 0.05 are
    defaults of this library. With ``T = total - stage1`` epochs of stage II and ``t = epoch -
    stage1``::

        lambda(epoch) = lambda_start * (lambda_end / lambda_start) ** (t / (T - 1))

    which is ``lambda_start`` in the first epoch of stage II and ``lambda_end`` in the last.

    Attributes:
        stage1: number of epochs of stage I; 0 leaves it out, ``total`` leaves stage II out.
        total: number of epochs of both stages.
        lambda_start: weight of the unlabelled loss when stage II begins.
        lambda_end: its weight when stage II ends, at most ``lambda_start`` and above 0.

    Raises:
        OptionError: numbers that make no schedule.

    Example:
        >>> schedule = TwoStage(stage1=60, total=80)
        >>> schedule.stage(59), schedule.stage(60)
        (1, 2)
        >>> round(schedule.lam(60), 3), round(schedule.lam(79), 3)
        (0.5, 0.05)
    """

    stage1: int
    total: int
    lambda_start: float = 0.5
    lambda_end: float = 0.05

    def __post_init__(self) -> None:
        for name in ("stage1", "total"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise OptionError(f"{name} must be a whole number of epochs, got {value!r}")
        if not 0 <= self.stage1 <= self.total or self.total == 0:
            raise OptionError(
                f"expected 0 <= stage1 <= total and total > 0, got stage1={self.stage1} and "
                f"total={self.total}; total counts both stages (VOC: stage1=60, total=80)"
            )
        for name in ("lambda_start", "lambda_end"):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not 0 < value <= 1:
                raise OptionError(f"{name} must be a number above 0 and at most 1, got {value!r}")
        if self.lambda_end > self.lambda_start:
            raise OptionError(
                f"lambda decays, so lambda_end must not exceed lambda_start, got "
                f"lambda_start={self.lambda_start} and lambda_end={self.lambda_end}; swap them"
            )

    @classmethod
    def voc(cls) -> TwoStage:
        """The paper's 60 + 20 epochs for PASCAL VOC."""
        return cls(stage1=60, total=80)

    @classmethod
    def ade20k(cls) -> TwoStage:
        """The paper's 30 + 10 epochs for ADE20K."""
        return cls(stage1=30, total=40)

    def stage(self, epoch: float) -> int:
        """1 while conformal labels act (``epoch < stage1``), else 2.

        Raises:
            InputTypeError: ``epoch`` is no Python number.
            OptionError: it is negative, NaN or infinite.
        """
        check_epoch(epoch)
        return 1 if epoch < self.stage1 else 2

    def lam(self, epoch: float) -> float:
        """Stage II's weight of the unlabelled loss, by the formula above.

        In stage I, where lambda has no part, it is the value that stage II begins with; past
        ``total`` it stays at ``lambda_end``. A stage II of one epoch has ``lambda_start``.

        Raises:
            InputTypeError: ``epoch`` is no Python number.
            OptionError: it is negative, NaN or infinite.
        """
        check_epoch(epoch)
        steps = max(self.total - self.stage1 - 1, 1)
        progress = min(max((epoch - self.stage1) / steps, 0.0), 1.0)
        return float(self.lambda_start * (self.lambda_end / self.lambda_start) ** progress)

    def blend(self, labelled: Tensor, unlabelled: Tensor, epoch: float) -> Tensor:
        """The loss of both parts: their sum in stage I, ``(1 - lambda) L_s + lambda L_u`` in II.

        Args:
            labelled: loss on the labelled images, a scalar.
            unlabelled: in stage I the conformal term, in stage II the loss on the model's own
                pseudo-labels, a scalar.
            epoch: the current epoch, counted from 0.

        Raises:
            InputTypeError: ``epoch`` is no Python number.
            OptionError: it is negative, NaN or infinite.
        """
        if self.stage(epoch) == 1:
            return labelled + unlabelled
        lam = self.lam(epoch)
        return (1 - lam) * labelled + lam * unlabelled


def check_epoch(epoch: Any) -> None:
    """Check a current epoch.

    Raises:
        InputTypeError: no Python number. A tensor is refused because reading it would wait for the
            GPU.
        OptionError: negative, NaN or infinite.
    """
    if not isinstance(epoch, (int, float)) or isinstance(epoch, bool):
        raise InputTypeError(
            f"epoch must be a Python int or float, got {type(epoch).__name__}; pass the loop's "
            f"counter, or convert with int(epoch)"
        )
    if not 0 <= epoch < math.inf:
        raise OptionError(
            f"epoch must be finite and at least 0, got {epoch!r}; epochs count from 0"
        )
