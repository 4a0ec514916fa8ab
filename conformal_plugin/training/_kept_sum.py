"""From what a criterion returns to one number in the graph, whatever the batch has kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from conformal_plugin.errors import InputTypeError, OptionError, ShapeError

__all__ = ["at_least_float32", "lend", "sum_over_kept", "weighted_sum", "zero"]


def sum_over_kept(values: Any, keep: Tensor, n_kept: Tensor) -> Tensor:
    """What a criterion returned, as the sum over the kept pixels; a scalar is their mean.

    Args:
        values: a scalar, or a value per pixel, with or without a channel axis of one.
        keep: ``(N, H, W)`` bool, or ``(N, D, H, W)``.
        n_kept: how many are kept, a scalar.

    Raises:
        InputTypeError, ShapeError: neither of the two.
    """
    if isinstance(values, Tensor) and values.ndim == 0:
        return at_least_float32(values) * n_kept
    return torch.where(keep, _of_pixels(values, keep), 0).sum()


def weighted_sum(values: Any, keep: Tensor, n_kept: Tensor, weights: Tensor) -> Tensor:
    """The weighted mean over the kept pixels, times how many these are.

    Args:
        values: a value per pixel, as for :func:`sum_over_kept`.
        keep, n_kept: likewise.
        weights: of the shape of ``keep``, at least 0.

    Raises:
        OptionError: a scalar, in which no pixel can be weighed any more.
        InputTypeError, ShapeError: neither of the two.
    """
    if isinstance(values, Tensor) and values.ndim == 0:
        raise OptionError(
            "weights are for pixels, and the criterion returned one number for all of them; take "
            "one with reduction='none' or a name without dice, 'ce' for instance, or leave weights "
            "out and thin the labels (conformal_plugin.labelling.thin)"
        )
    each = torch.where(keep, _of_pixels(values, keep), 0)
    counted = torch.where(keep, weights.detach().to(each.dtype), 0)
    total = counted.sum().clamp(min=torch.finfo(each.dtype).tiny)
    return (each * counted).sum() / total * n_kept


def _of_pixels(values: Any, keep: Tensor) -> Tensor:
    """A value per pixel, of the shape of ``keep``, in float32 at least."""
    if not isinstance(values, Tensor):
        raise InputTypeError(
            f"the criterion must return a tensor, got {type(values).__name__}; wrap it in a "
            f"function that returns the loss alone"
        )
    if values.ndim == keep.ndim + 1 and values.shape[1] == 1:  # a channel of its own for the value
        values = values[:, 0]
    if values.shape != keep.shape:
        raise ShapeError(
            f"the criterion must return a scalar or one value per pixel, {tuple(keep.shape)}, "
            f"got {tuple(values.shape)}; {_remedy(values, keep)}"
        )
    return at_least_float32(values)


def _remedy(values: Tensor, keep: Tensor) -> str:
    """What makes values of another shape usable, or the closest that is."""
    if values.ndim == keep.ndim + 1 and values[:, 0].shape == keep.shape:
        return (
            "these are values of each class: build it with reduction='none' and take their mean, "
            "with lambda logits, target: criterion(logits, target).mean(1), giving it the ignore "
            "index where its call takes one; or take a loss by name, 'bce' for instance"
        )
    if values.shape == keep.shape[:1]:
        return (
            "these are values of each image: take their mean, with lambda logits, target: "
            "criterion(logits, target).mean(), of which it is then found out whether it skips "
            "dropped pixels, or take a loss by name, 'dice' for instance"
        )
    return "have it return the pixels in place, or the mean over those that it does not skip"


def lend(target: Tensor, n_kept: Tensor, num_classes: int) -> None:
    """Where no pixel is kept, write one of each class into a row of the target, while they fit.

    A scalar criterion thus has something to average, even if it gives some classes no weight.
    """
    row = target[(0,) * (target.ndim - 1)][:num_classes]
    classes = torch.arange(row.shape[0], device=target.device)
    row.copy_(torch.where(n_kept == 0, classes, row))


def zero(logits: Tensor) -> Tensor:
    """A zero in the graph of the logits, with gradients of zero."""
    # The sum of an empty slice: unlike a product with zero it is 0 for infinite logits too.
    return at_least_float32(logits[:0]).sum()


def at_least_float32(values: Tensor) -> Tensor:
    """Half precision as float32, all else as it is."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values
