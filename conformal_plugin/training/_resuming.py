"""What a checkpoint holds of a run's stage: its epoch and its schedule, as a tensor."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.training._schedule import TwoStage

__all__ = ["ScheduleChangedWarning", "epoch_of", "saved_stage"]


class ScheduleChangedWarning(UserWarning):
    """A checkpoint was written under another schedule than the one that goes on with it."""


def saved_stage(epoch: float | None, schedule: TwoStage | None) -> Tensor:
    """Epoch and schedule as a float64 tensor ``(5,)`` on the CPU, NaN where there is nothing.

    A tensor, since some checkpoint formats hold nothing else.
    """
    numbers = [math.nan if epoch is None else epoch, *_numbers(schedule)]
    return torch.tensor(numbers, dtype=torch.float64, device="cpu")


def epoch_of(state: Tensor, schedule: TwoStage | None) -> float | None:
    """The epoch of what :func:`saved_stage` returned.

    Warns:
        ScheduleChangedWarning: it was saved under another schedule.
    """
    epoch, *saved = state.tolist()
    own = _numbers(schedule)
    if not np.array_equal(saved, own, equal_nan=True):
        warnings.warn(
            f"the checkpoint was written with {_describe(saved)} and this run has "
            f"{_describe(own)}, which is used; pass the saved numbers to ConformalSupervision "
            f"to go on as before",
            ScheduleChangedWarning,
            stacklevel=3,
        )
    return None if math.isnan(epoch) else epoch


def _numbers(schedule: TwoStage | None) -> list[float]:
    if schedule is None:
        return [math.nan] * 4
    return [schedule.stage1, schedule.total, schedule.lambda_start, schedule.lambda_end]


def _describe(numbers: Sequence[float]) -> str:
    if any(map(math.isnan, numbers)):
        return "no schedule"
    stage1, total, start, end = numbers
    return f"TwoStage({stage1:g}, {total:g}, lambda_start={start:g}, lambda_end={end:g})"
