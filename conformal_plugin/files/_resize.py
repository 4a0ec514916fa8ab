"""Bringing score maps to the size of a photo or label, or refusing where sizes differ."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.nn.functional import interpolate

from conformal_plugin.errors import ShapeError
from conformal_plugin.files._axes import require_axes
from conformal_plugin.files._maps import ScoreMap
from conformal_plugin.scores import ScoreParts, back_to_kind, to_tensor

__all__ = ["require_size", "resize_map"]


def resize_map(scores: ScoreMap, size: Sequence[int]) -> ScoreMap:
    """Resize scores to ``size`` bilinearly, those of volumes trilinearly, pixel centres aligned.

    Computed in float32 (float64 for float64 maps) and returned in the dtype that came, so that a
    resized map can be counted beside others; integers are rounded. Each value is a weighted mean
    of its neighbours: scores in [0, 1] stay there to the bit, and scores outside are not hidden.

    Args:
        scores: ``(K, H, W)`` or ``(K, D, H, W)``.
        size: ``(H, W)`` or ``(D, H, W)``.

    Raises:
        ShapeError: the size of an image for a volume, or the other way round.
    """
    tensor = to_tensor(scores, "scores")
    if tuple(tensor.shape[1:]) == tuple(size):
        return scores
    if tensor.ndim != len(size) + 1:
        raise ShapeError(
            f"scores {tuple(tensor.shape)} cannot be brought to the size {tuple(size)}: one is an "
            f"image's and the other a volume's"
        )
    real = torch.float64 if tensor.dtype == torch.float64 else torch.float32
    fine = tensor.to(real)
    low, high = fine.aminmax()
    mode = "bilinear" if len(size) == 2 else "trilinear"
    resized = interpolate(fine[None], size=tuple(size), mode=mode, align_corners=False)[0]
    # Rounding of the weights must not lift 1.0 above one.
    resized = resized.clamp(low, high)
    if not tensor.dtype.is_floating_point:
        resized = resized.round()
    result: ScoreMap = back_to_kind(scores)(resized.to(tensor.dtype))
    return result


def require_size(scores: ScoreMap | ScoreParts, size: Sequence[int], name: str, other: str) -> None:
    """Refuse scores ``(K, H, W)`` or ``(K, D, H, W)`` of another size than ``size``.

    Args:
        scores: the map.
        size: ``(H, W)`` or ``(D, H, W)`` expected.
        name: the image's id, for the message.
        other: what has that size: ``"label"`` or ``"photo"``.

    Raises:
        ShapeError: names the id and both sizes, or what the axes look like.
    """
    found = tuple(scores.shape[1:])
    if found == tuple(size):
        return
    require_axes(scores, size, name, other)
    axes = "height x width" if len(found) == 2 else "depth x height x width"
    raise ShapeError(
        f"image {name}: the map is {_times(found)} ({axes}) and the {other} "
        f"{_times(size)}; resize the map with conformal_plugin.files.resize_map "
        f"(--resize on the command line), or check that both belong to the same image"
    )


def _times(size: Sequence[int]) -> str:
    return " x ".join(map(str, size))
