"""The points of photos that a rehearsal looks at."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from conformal_plugin.errors import InputTypeError, LabelError, OptionError, ScoreError, ShapeError
from conformal_plugin.rehearsing._points import at_points
from conformal_plugin.scores import to_tensor

__all__ = ["Items", "PhotoPoints", "points_of"]

_MOST_OF_A_PHOTO: Final = 1024
_FEWEST_OF_A_PHOTO: Final = 64
_MOST_POINTS: Final = 2**18
_LARGEST_CLASS: Final = 999


class Items(Protocol):
    """A number of things, each of which is asked for once."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Any]: ...


class PhotoPoints(NamedTuple):
    """Points of one photo.

    Attributes:
        features: ``(points, C)`` float16.
        labels: classes, ``(points,)`` int64.
    """

    features: Tensor
    labels: npt.NDArray[np.int64]


def points_of(
    features: Items,
    labels: Items,
    what: str,
    ignore_index: int,
    drawn: np.random.Generator,
) -> list[PhotoPoints]:
    """All points of photos, or some of each where these are too many to be held.

    Args:
        features: ``(C, h, w)`` of each photo.
        labels: ``(H, W)`` of each.
        what: what a photo is called in messages.
        ignore_index: the label of pixels without a class.
        drawn: draws the points.

    Raises:
        OptionError: no photo.
        ShapeError, InputTypeError, ScoreError, LabelError: as
            :func:`conformal_plugin.rehearsing.rehearse`.
    """
    if not len(features):
        raise OptionError(f"there is no {what}; pass some")
    most = max(_FEWEST_OF_A_PHOTO, min(_MOST_OF_A_PHOTO, _MOST_POINTS // len(features)))
    found = []
    for number, (seen, given) in enumerate(zip(features, labels)):
        name = f"{what} {number}"
        points, grid = _features(seen, name)
        classes = at_points(_labels(given, name, ignore_index), grid).ravel()
        if len(classes) > most:
            some = np.sort(drawn.choice(len(classes), most, replace=False))
            points, classes = points[torch.from_numpy(some)], classes[some]
        found.append(PhotoPoints(points, classes))
    return found


def _features(given: Any, name: str) -> tuple[Tensor, tuple[int, int]]:
    """Features ``(points, C)`` and the grid of the points."""
    features = to_tensor(given, f"the features of {name}")
    if features.ndim != 3 or not features.numel():
        raise ShapeError(
            f"the features of {name} must be (C, h, w) with at least one point, got "
            f"{tuple(features.shape)}"
        )
    if not features.is_floating_point():
        raise InputTypeError(f"the features of {name} must be floating-point, got {features.dtype}")
    found = features.to("cpu", torch.float16)
    if not bool(found.isfinite().all()):
        raise ScoreError(
            f"the features of {name} are NaN, infinite or beyond what float16 holds (65,504); "
            f"scale them, or look at the encoder"
        )
    height, width = features.shape[1:]
    return found.flatten(1).T.contiguous(), (height, width)


def _labels(given: Any, name: str, ignore_index: int) -> npt.NDArray[np.int64]:
    labels = to_tensor(given, f"the labels of {name}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise InputTypeError(f"the labels of {name} must be integers, got {labels.dtype}")
    if labels.ndim != 2 or not labels.numel():
        raise ShapeError(
            f"the labels of {name} must be (H, W), got {tuple(labels.shape)}; of a volume pass "
            f"slices"
        )
    classes: npt.NDArray[np.int64] = labels.cpu().numpy().astype(np.int64)
    held = classes[classes != ignore_index]
    if held.size and not 0 <= held.min() <= held.max() <= _LARGEST_CLASS:
        wrong = held.min() if held.min() < 0 else held.max()
        raise LabelError(
            f"the labels of {name} hold {wrong}, which is neither a class in 0 ... "
            f"{_LARGEST_CLASS} nor the ignore index {ignore_index}"
        )
    return classes
