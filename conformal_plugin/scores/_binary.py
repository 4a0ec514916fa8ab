"""Two channels from one: binary and medical maps in the convention of the core."""

from __future__ import annotations

from typing import Any

import torch

from conformal_plugin.errors import InputTypeError, ScoreError, ShapeError
from conformal_plugin.scores._arrays import back_to_kind, to_tensor
from conformal_plugin.scores._grid import grid_of

__all__ = ["from_foreground"]


def from_foreground(probability: Any) -> Any:
    """Make the two channels (background, foreground) from a foreground probability.

    Args:
        probability: floating-point P(foreground) in [0, 1], of shape ``(H, W)``, ``(1, H, W)`` or
            ``(N, 1, H, W)``; NumPy, torch or DLPack. For a sigmoid network that is
            ``logits.sigmoid()``.

    Returns:
        ``(2, H, W)`` or ``(N, 2, H, W)`` of the same kind, dtype and device, with
        ``1 - probability`` in channel 0.

    Raises:
        InputTypeError: not floating point.
        ShapeError: another shape.
        ScoreError: a value that is NaN or outside [0, 1].

    Example:
        >>> import numpy as np
        >>> from_foreground(np.array([[0.25, 1.0]])).tolist()
        [[[0.75, 0.0]], [[0.25, 1.0]]]
    """
    tensor = to_tensor(probability, "probability")
    if grid_of(tensor, "probability").is_integer:
        raise InputTypeError(
            f"probability must be floating point in [0, 1], got {tensor.dtype}; divide it by its "
            f"largest possible value first"
        )
    if tensor.ndim == 2:
        tensor = tensor.unsqueeze(0)
    if tensor.ndim not in (3, 4) or tensor.shape[-3] != 1:
        raise ShapeError(
            f"probability must have shape (H, W), (1, H, W) or (N, 1, H, W), got "
            f"{tuple(tensor.shape)}; pass the foreground channel alone"
        )
    if not bool(((tensor >= 0) & (tensor <= 1)).all()):
        raise ScoreError(
            "probability must lie in [0, 1] and hold no NaN, and some of it does not; apply "
            "sigmoid to logits first"
        )
    return back_to_kind(probability)(torch.cat([1 - tensor, tensor], dim=-3))
