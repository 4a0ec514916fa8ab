"""Maps whose axes are not (classes, height, width), told by the size that they should have."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from conformal_plugin.errors import ShapeError
from conformal_plugin.files._maps import ScoreMap
from conformal_plugin.scores import ScoreParts, to_tensor

__all__ = ["require_axes", "require_classes_first"]

_SAMPLED = 16
"""Rows and columns of a map that are added up."""
_ROUNDING = 0.01
"""By which sums of rounded probabilities differ from 1."""
_ALIKE = 0.02
"""By which sides rounded to whole pixels may differ in their ratio."""


def require_axes(scores: ScoreMap | ScoreParts, size: Sequence[int], name: str, other: str) -> None:
    """Refuse maps that resizing would make garbage of: ``(H, W, K)``, and turned ones.

    Args:
        scores: the map, ``(K, H, W)``; volumes are passed over.
        size: ``(H, W)`` of what it belongs to.
        name: the image's id, for the message.
        other: what has that size: ``"label"`` or ``"photo"``.

    Raises:
        ShapeError: names the id, and what the axes look like.
    """
    if len(size) != 2 or scores.ndim != 3:
        return
    shape, wanted = tuple(scores.shape), (size[0], size[1])
    if shape[1:] == wanted or _alike(shape[1:], wanted):
        return
    if shape[:2] == wanted or (_alike(shape[:2], wanted) and 2 * shape[2] <= min(shape[:2])):
        raise ShapeError(
            f"image {name}: the map has shape {shape} and the {other} is {wanted[0]} x {wanted[1]} "
            f"(height x width), so its axes look like (H, W, K); a map has its classes first, "
            f"(K, H, W): save numpy.moveaxis(scores, -1, 0)"
        )
    if _alike(shape[:0:-1], wanted):
        raise ShapeError(
            f"image {name}: the map is {shape[1]} x {shape[2]} (height x width) and the {other} "
            f"{wanted[0]} x {wanted[1]}: one of them is turned by 90 degrees, or has height and "
            f"width exchanged, which resizing does not mend. A photo's EXIF may say that it is to "
            f"be turned: masks are then drawn on the turned photo, and maps made of the pixels as "
            f"stored; annotate with --follow-exif, or turn the {other}"
        )


def require_classes_first(scores: ScoreMap | ScoreParts, name: str) -> None:
    """Refuse ``(H, W, K)`` probabilities where nothing else tells the size: they sum to 1 there.

    Args:
        scores: the map, ``(K, H, W)``; what is no probability of one class is passed over. Of one
            that is read part by part the first part is looked at.
        name: the image's id, for the message.

    Raises:
        ShapeError: names the id and the shape.
    """
    shape = tuple(scores.shape)
    if len(shape) != 3 or not 2 <= shape[2] < min(shape[:2]):
        return
    some = next(iter(scores.parts())) if isinstance(scores, ScoreParts) else scores
    tensor = to_tensor(some, "scores")
    if not tensor.dtype.is_floating_point:
        return
    rows, columns = (slice(None, None, max(1, side // _SAMPLED)) for side in shape[:2])
    along_last = tensor[rows, columns].double().sum(-1)
    along_first = tensor[:, columns].double().sum(0)
    if _sums_to_one(along_last) and not _sums_to_one(along_first):
        raise ShapeError(
            f"image {name}: the map has shape {shape} and its values sum to 1 along the last axis, "
            f"so its axes look like (H, W, K); a map has its classes first, (K, H, W): save "
            f"numpy.moveaxis(scores, -1, 0)"
        )


def _sums_to_one(sums: Tensor) -> bool:
    return bool(((sums - 1).abs() < _ROUNDING).all())


def _alike(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two sizes have the same ratio of sides."""
    across, along = one[0] * other[1], one[1] * other[0]
    return abs(across - along) <= _ALIKE * max(across, along)
