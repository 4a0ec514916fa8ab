"""Scores in CPU memory as the unsigned integers with the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Patterns", "patterns_of"]

Patterns = np.ndarray[Any, Any]
"""Scores as unsigned integers with the same bits, ``(..., K, H, W)``."""

_SIGNED = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
_UNSIGNED = {1: np.uint8, 2: np.uint16, 4: np.uint32, 8: np.uint64}


def patterns_of(scores: Tensor) -> Patterns:
    """The patterns of scores in CPU memory, without a copy."""
    size = scores.element_size()
    return scores.detach().view(_SIGNED[size]).numpy().view(_UNSIGNED[size])
