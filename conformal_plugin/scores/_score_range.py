"""Whether raw scores lie in their range, from their smallest and largest alone."""

from __future__ import annotations

import torch
from torch import Tensor

from conformal_plugin.errors import ScoreError
from conformal_plugin.scores._grid import ScoreGrid
from conformal_plugin.scores._inputs import score_message

__all__ = ["check_range", "extremes", "ordered"]


def ordered(scores: Tensor) -> Tensor:
    """Integer scores in a dtype that torch compares and that holds -1; others as they are."""
    return scores if scores.dtype.is_floating_point else scores.to(torch.int32)


def extremes(scores: Tensor) -> Tensor:
    """The smallest and the largest raw score, ``(2,)``; NaN where there is one."""
    values = ordered(scores)
    halves = values.dtype in (torch.float16, torch.bfloat16)
    if halves and values.device.type == "cpu":  # not every torch has these there
        values = values.float()
    return torch.stack(values.aminmax())


def check_range(bounds: Tensor, scores: Tensor, grid: ScoreGrid) -> float:
    """Refuse scores outside the grid's range, given their :func:`extremes`, ``(2,)``.

    Returns:
        The smallest raw score.

    Raises:
        ScoreError: NaN, or a value outside [0, 1].
    """
    top = int(grid.top) if grid.is_integer else 1
    low, high = bounds.tolist()  # the one wait for the device
    if low >= 0 and high <= top:
        return float(low)
    comparable = ordered(scores)
    wrong = comparable[~((comparable >= 0) & (comparable <= top))]
    raise ScoreError(score_message(wrong))
