"""CutMix that treats images and their pseudo-labels alike."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from conformal_plugin.errors import DeviceMismatchError, InputTypeError, OptionError, ShapeError
from conformal_plugin.training._device_values import readable

__all__ = ["cutmix"]


def cutmix(a: Tensor, partner: Tensor, box: Tensor) -> Tensor:
    """Paste the partner wherever the box says so (CutMix, arXiv 1905.04899).

    Call it once with the images and once with the pseudo-labels (and with the ``valid`` masks, when
    there is padding), with the same ``box``: each pixel then keeps its own label.

    Args:
        a: ``(N, H, W)`` labels or masks, or ``(N, C, H, W)`` images or probability maps; of
            volumes ``(N, D, H, W)`` or ``(N, C, D, H, W)``.
        partner: same shape, dtype and device as ``a``.
        box: ``(N, H, W)`` or ``(N, D, H, W)``, booleans or 0/1 numbers; True or 1 where the partner
            is pasted.

    Returns:
        A new tensor of the shape, dtype and device of ``a``. No value is read back from a GPU.

    Raises:
        InputTypeError: no tensors, or dtypes that differ.
        ShapeError: shapes that do not go together.
        DeviceMismatchError: tensors on different devices.
        OptionError: a box with other values than 0 and 1. Looked for on the CPU alone, where
            reading values costs no waiting; elsewhere whatever is not 0 is pasted.

    Example:
        >>> labels = torch.tensor([[[1, 1]], [[2, 2]]])
        >>> cutmix(labels, labels.flip(0), torch.tensor([[[0, 1]], [[0, 0]]])).tolist()
        [[[1, 2]], [[2, 2]]]
    """
    for name, value in (("a", a), ("partner", partner), ("box", box)):
        _check_tensor(name, value)
    if a.ndim not in (3, 4, 5):
        raise ShapeError(
            f"a must be labels (N, H, W) or images (N, C, H, W), or of volumes (N, D, H, W) or "
            f"(N, C, D, H, W), got shape {tuple(a.shape)}; add the batch axis with .unsqueeze(0)"
        )
    if partner.shape != a.shape:
        raise ShapeError(
            f"partner must have the shape of a, {tuple(a.shape)}, got {tuple(partner.shape)}; crop "
            f"both to one size"
        )
    if partner.dtype != a.dtype:
        raise InputTypeError(
            f"partner must have the dtype of a, {a.dtype}, got {partner.dtype}; convert one of them"
        )
    without_channels = a.shape[:1] + a.shape[2:]
    fitting = {3: [a.shape], 4: [without_channels, a.shape], 5: [without_channels]}[a.ndim]
    if box.shape not in fitting:
        shapes = " or ".join(str(tuple(shape)) for shape in fitting)
        raise ShapeError(
            f"box must have shape {shapes} to go with a of shape {tuple(a.shape)}, got "
            f"{tuple(box.shape)}; it has one value per pixel and no channel axis"
        )
    for name, value in (("partner", partner), ("box", box)):
        if value.device != a.device:
            raise DeviceMismatchError(
                f"a is on {a.device} and {name} on {value.device}; move one of them with "
                f".to(device)"
            )
    paste = box if box.dtype == torch.bool else _as_bool(box)
    return torch.where(paste if paste.ndim == a.ndim else paste.unsqueeze(1), partner, a)


def _check_tensor(name: str, value: Any) -> None:
    if not isinstance(value, Tensor):
        raise InputTypeError(
            f"{name} must be a torch tensor, got {type(value).__name__}; convert it with "
            f"torch.as_tensor"
        )


def _as_bool(box: Tensor) -> Tensor:
    if readable(box) and not bool(((box == 0) | (box == 1)).all()):
        raise OptionError(
            f"box must hold 0s and 1s (1 where the partner is pasted), got values from "
            f"{box.min().item()} to {box.max().item()}; compare it with its inside value first"
        )
    return box != 0
