"""Volumes: told from batches of images, and laid out as images are."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from conformal_plugin.errors import ShapeError

__all__ = ["as_image", "one_kind", "refuse_a_volume"]

_SAMPLED: Final = 32
"""Rows and columns that are looked at, at most."""
_ROUNDING: Final = 0.02
_NEARLY_ALL, _FEW = 0.99, 0.5
_MARGIN: Final = 0.05
_ERRORS: Final = 5.0


def as_image(values: Tensor) -> Tensor:
    """``(..., D, H, W)`` with the slices below each other, ``(..., D * H, W)``.

    A view wherever the slices follow each other in memory, as they do unless they were cropped.
    """
    *before, depth, height, width = values.shape
    return values.reshape(*before, depth * height, width)


def one_kind(before: bool | None, volume: bool) -> bool:
    """Whether volumes are counted, which the first to be counted decides.

    Raises:
        ShapeError: images came before, and now a volume, or the other way round.
    """
    if before not in (None, volume):
        raise ShapeError(
            "volumes (N, K, D, H, W) and images were to be counted together; the unit of a "
            "promise is one or the other: calibrate each by itself"
        )
    return volume


def refuse_a_volume(scores: Tensor, labels: Tensor | None, name: str) -> None:
    """Refuse ``(K, D, H, W)`` scores of one volume that would pass for ``(N, K, H, W)`` images.

    Shapes do not tell them apart where D = K, or without labels. Looked at are some pixels: scores
    of one pixel that add up to one along the first axis and not along the second are a volume's,
    and so are scores that are clearly higher at the true class along the first axis.

    Args:
        scores: four-dimensional.
        labels: ``(N, H, W)``, checked; None where there are none.
        name: what the scores are called.

    Raises:
        ShapeError: says how volumes and images are passed.
    """
    n, classes, height, width = scores.shape
    if n < 2 or (labels is not None and n != classes):
        return
    rows, columns = (slice(None, None, -(-size // _SAMPLED)) for size in (height, width))
    some = scores[:, :, rows, columns]
    one = _one(some)
    some = some.to(torch.float64)
    first, second = (_share_of_sums(some, axis, one) for axis in (0, 1))
    if second > _FEW:
        return
    if first > _NEARLY_ALL:
        why = "they add up to one along the first axis and not along the second"
    elif labels is not None and _fits_better(some / one, labels[:, rows, columns]):
        why = "their scores of the true class are higher along the first axis than the second"
    else:
        return
    both = f"{name}[None]" if labels is None else f"{name}[None] and labels[None]"
    single = f"list({name})" if labels is None else f"list({name}) and list(labels)"
    raise ShapeError(
        f"{name} of shape {tuple(scores.shape)} look like one volume (K, D, H, W), as {why}, and "
        f"would be read as {n} images of {classes} classes; volumes have five dimensions, "
        f"(N, K, D, H, W): pass {both}, or, if these are images, one by one: {single}"
    )


def _one(scores: Tensor) -> float:
    """What stands for a score of 1."""
    return 1.0 if scores.is_floating_point() else float(torch.iinfo(scores.dtype).max)


def _share_of_sums(scores: Tensor, axis: int, one: float) -> float:
    """Share of places whose scores add up to one along an axis."""
    rounding = one * _ROUNDING + (0.5 * scores.shape[axis] if one > 1 else 0.0)
    return float(((scores.sum(axis) - one).abs() <= rounding).double().mean())


def _fits_better(scores: Tensor, labels: Tensor) -> bool:
    """Whether the true class scores clearly higher where it is looked up along the first axis."""
    true = labels.to(torch.int64)
    used = (true >= 0) & (true < len(scores))
    true = true.clamp(0, len(scores) - 1)
    as_volume = scores.gather(0, true.unsqueeze(0))[0]
    as_images = scores.gather(1, true.unsqueeze(1))[:, 0]
    gain = (as_volume - as_images)[used]
    if gain.numel() < 2:
        return False
    error = float(gain.std()) / gain.numel() ** 0.5
    return bool(gain.mean() > max(_MARGIN, _ERRORS * error))
