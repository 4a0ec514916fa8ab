"""Maps whose axes are not (K, H, W) or (K, D, H, W), told by their size and what adds up to one."""

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
_OF_IMAGES = {2: "(H, W, K)"}
_OF_VOLUMES = {3: "(D, H, W, K)", 1: "(D, K, H, W)"}
"""Other orders, by where the classes are."""
_ALIKE = 0.02
"""By which sides rounded to whole pixels may differ in their ratio."""


def require_axes(scores: ScoreMap | ScoreParts, size: Sequence[int], name: str, other: str) -> None:
    """Refuse maps that resizing would make garbage of: ``(H, W, K)``, and turned ones.

    Args:
        scores: the map, ``(K, H, W)`` or ``(K, D, H, W)``.
        size: ``(H, W)`` or ``(D, H, W)`` of what it belongs to.
        name: the image's id, for the message.
        other: what has that size: ``"label"`` or ``"photo"``.

    Raises:
        ShapeError: names the id, and what the axes look like.
    """
    if len(size) == 3 and scores.ndim == 4:
        _require_axes_of_volume(tuple(scores.shape), tuple(size), name, other)
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


def _require_axes_of_volume(
    shape: tuple[int, ...], wanted: tuple[int, ...], name: str, other: str
) -> None:
    if shape[1:] == wanted:
        return
    for axis, axes in _OF_VOLUMES.items():
        if shape[:axis] + shape[axis + 1 :] == wanted:
            raise ShapeError(
                f"image {name}: the map has shape {shape} and the {other} {wanted} (D, H, W), so "
                f"its axes look like {axes}; a map has its classes first, (K, D, H, W): save "
                f"numpy.moveaxis(scores, {axis}, 0)"
            )
    if sorted(shape[1:]) == sorted(wanted):
        raise ShapeError(
            f"image {name}: the map is {shape[1:]} and the {other} {wanted} (D, H, W): the axes of "
            f"one are in another order, which resizing does not mend. numpy.transpose one of them; "
            f"NIfTI is read with its axes reversed, (z, y, x)"
        )


def require_classes_first(scores: ScoreMap | ScoreParts, name: str) -> None:
    """Refuse probabilities that sum to 1 along another axis than the first, as ``(H, W, K)`` do.

    Args:
        scores: the map, ``(K, H, W)`` or ``(K, D, H, W)``; what is no probability of one class is
            passed over. Of one that is read part by part the first part is looked at.
        name: the image's id, for the message.

    Raises:
        ShapeError: names the id and the shape.
    """
    shape = tuple(scores.shape)
    if len(shape) == 3 and not 2 <= shape[2] < min(shape[:2]):
        return
    some = next(iter(scores.parts())) if isinstance(scores, ScoreParts) else scores
    tensor = to_tensor(some, "scores")
    if not tensor.dtype.is_floating_point:
        return
    if _sums_to_one(tensor, 0):
        return
    for axis, axes in (_OF_IMAGES if len(shape) == 3 else _OF_VOLUMES).items():
        if tensor.shape[axis] == shape[axis] > 1 and _sums_to_one(tensor, axis):
            raise ShapeError(
                f"image {name}: the map has shape {shape} and its values sum to 1 along axis "
                f"{axis}, so its axes look like {axes}; a map has its classes first, "
                f"(K, {axes.replace('K, ', '').replace(', K', '').strip('()')}): save "
                f"numpy.moveaxis(scores, {axis}, 0)"
            )


def _sums_to_one(scores: Tensor, axis: int) -> bool:
    """Whether the values of some places do, along an axis."""
    some = tuple(
        slice(None, None, 1 if other == axis else max(1, side // _SAMPLED))
        for other, side in enumerate(scores.shape)
    )
    return bool(((scores[some].double().sum(axis) - 1).abs() < _ROUNDING).all())


def _alike(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether two sizes have the same ratio of sides."""
    across, along = one[0] * other[1], one[1] * other[0]
    return abs(across - along) <= _ALIKE * max(across, along)
