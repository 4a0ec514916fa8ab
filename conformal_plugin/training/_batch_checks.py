"""What the tensors of a training batch must look like: kinds, shapes and devices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from conformal_plugin.errors import DeviceMismatchError, InputTypeError, OptionError, ShapeError
from conformal_plugin.training._device_values import readable

__all__ = ["check_logits", "check_valid", "check_weights", "checked_pseudo", "classes_of"]

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def check_logits(logits: Any, *, sigmoid: bool) -> None:
    """Check ``(N, K, H, W)`` logits, or ``(N, K, D, H, W)`` of volumes.

    Args:
        logits: the model's output.
        sigmoid: whether its channels are binary heads, so that one channel is enough.

    Raises:
        InputTypeError, ShapeError: no floating-point tensor of that shape with two classes.
    """
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        kind = logits.dtype if isinstance(logits, Tensor) else type(logits).__name__
        raise InputTypeError(
            f"logits must be a floating-point torch tensor, got {kind}; pass the model's output "
            f"before argmax"
        )
    if logits.ndim not in (4, 5):
        raise ShapeError(
            f"logits must have shape (N, K, H, W), or (N, K, D, H, W) of volumes, got "
            f"{tuple(logits.shape)}; add the batch axis with .unsqueeze(0) if that is what lacks"
        )
    if logits.shape[1] < (1 if sigmoid else 2):
        raise ShapeError(
            f"logits must have at least two classes, (N, K, H, W), got {tuple(logits.shape)}; for "
            f"a lone foreground logit take a loss by name, ConformalSupervision('bce') for "
            f"instance, or make it two with torch.cat([torch.zeros_like(logits), logits], 1)"
        )


def classes_of(logits: Tensor) -> int:
    """K: the channels, or two where one channel tells foreground from background."""
    return max(2, logits.shape[1])


def checked_pseudo(logits: Tensor, pseudo: Any) -> Tensor:
    """``pseudo`` as it came: label maps, without the channel axis, or class scores, with it.

    Raises:
        InputTypeError, ShapeError, DeviceMismatchError: neither, or unfit for the logits.
    """
    if not isinstance(pseudo, Tensor):
        raise InputTypeError(
            f"pseudo must be a torch tensor in stage I, got {type(pseudo).__name__}; convert it "
            f"with torch.as_tensor"
        )
    shape = (logits.shape[0], classes_of(logits), *logits.shape[2:])
    maps = (shape[0], *shape[2:])
    if pseudo.ndim not in (len(maps), len(shape)):
        raise ShapeError(
            f"pseudo must be label maps {maps} or class scores {shape}, got {tuple(pseudo.shape)}"
        )
    scores = pseudo.ndim == len(shape)
    expected = shape if scores else maps
    if tuple(pseudo.shape) != expected:
        raise ShapeError(
            f"pseudo must have shape {expected} to go with logits of shape {shape}, got "
            f"{tuple(pseudo.shape)}; bring the logits to the size of the pseudo-labels with "
            f"F.interpolate, and crop and flip the pseudo-labels as the images"
        )
    if scores and not pseudo.is_floating_point():
        raise InputTypeError(
            f"pseudo of the shape of the logits must be class scores in floating point, got "
            f"{pseudo.dtype}; label maps have shape {maps}, and integer maps go through "
            f"conformal_plugin.filter first"
        )
    if not scores and pseudo.dtype not in _INTEGERS:
        raise InputTypeError(
            f"label maps {maps} must be integers, got {pseudo.dtype}; convert them with "
            f".long(), or pass class scores of shape {shape}"
        )
    _check_device(logits, "pseudo", pseudo)
    return pseudo


def check_valid(logits: Tensor, valid: Any) -> None:
    """Check a bool mask without a channel axis that is False on padding, or None.

    Raises:
        InputTypeError, ShapeError, DeviceMismatchError: another dtype, shape or device.
    """
    if valid is None:
        return
    if not isinstance(valid, Tensor) or valid.dtype != torch.bool:
        kind = valid.dtype if isinstance(valid, Tensor) else type(valid).__name__
        raise InputTypeError(
            f"valid must be a bool tensor, False on padding, got {kind}; with a mask that marks "
            f"padding by 255 pass valid=ignore_mask != 255"
        )
    _check_pixels(logits, "valid", valid, "it has one value per pixel and no channel axis")


def check_weights(logits: Tensor, weights: Any) -> None:
    """Check weights of pixels, floating point and without a channel axis, or None.

    Raises:
        InputTypeError, ShapeError, DeviceMismatchError: another dtype, shape or device.
        OptionError: on the CPU, one that is negative, infinite or NaN.
    """
    if weights is None:
        return
    if not isinstance(weights, Tensor) or not weights.is_floating_point():
        kind = weights.dtype if isinstance(weights, Tensor) else type(weights).__name__
        raise InputTypeError(
            f"weights must be a floating-point tensor, one per pixel, got {kind}; pass what "
            f"conformal_plugin.labelling.label_weights gives"
        )
    _check_pixels(logits, "weights", weights, "crop, flip and mix them as the pseudo-labels")
    if readable(weights) and not bool(((weights >= 0) & weights.isfinite()).all()):
        raise OptionError(
            "weights must be finite and at least 0, and some are not; pass what "
            "conformal_plugin.labelling.label_weights gives"
        )


def _check_pixels(logits: Tensor, name: str, value: Tensor, remedy: str) -> None:
    """Check that there is a value for each pixel, where the logits are."""
    shape = tuple(logits.shape)
    if tuple(value.shape) != (shape[0], *shape[2:]):
        raise ShapeError(
            f"{name} must have shape {(shape[0], *shape[2:])} to go with logits of shape {shape}, "
            f"got {tuple(value.shape)}; {remedy}"
        )
    _check_device(logits, name, value)


def _check_device(logits: Tensor, name: str, value: Tensor) -> None:
    if value.device != logits.device:
        raise DeviceMismatchError(
            f"logits are on {logits.device} and {name} on {value.device}; move it with "
            f"{name}.to(logits.device, non_blocking=True)"
        )
