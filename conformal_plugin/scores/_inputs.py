"""Reading what a caller passes as scores and labels: checked, one image at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.errors import (
    ConformalError,
    DeviceMismatchError,
    InputTypeError,
    LabelError,
    ScoreError,
    ShapeError,
)
from conformal_plugin.scores._arrays import in_cpu_memory, is_array, to_tensor
from conformal_plugin.scores._grid import ScoreGrid, grid_of
from conformal_plugin.scores._parts import ScoreParts
from conformal_plugin.scores._volumes import as_image, refuse_a_volume

__all__ = [
    "LabelledParts",
    "LabelledScores",
    "check_ignore_index",
    "check_patterns",
    "class_indices",
    "elsewhere",
    "labelled_images",
    "read_scores",
    "rereadable",
    "score_message",
    "true_scores",
]

_ROUNDED = 1.001
"""Below this a score exceeds 1 by rounding alone."""
_SIGNED = {torch.int8, torch.int16, torch.int32, torch.int64}
_LABEL_DTYPES = _SIGNED | {torch.uint8, getattr(torch, "uint16", torch.uint8)}


@dataclass(frozen=True)
class LabelledScores:
    """Scores and labels of one image or volume, or of separate points.

    Attributes:
        scores: ``(K, H, W)``, or ``(K, N)`` for N separate points. A volume's slices are below
            each other, ``(K, D * H, W)``: what is counted of an image is so of a volume.
        labels: ``(H, W)`` or ``(N,)``, integers.
        points: whether the pixels are separate points, each counted as an image of its own.
        index: which image of a batch or an iterable this is; None where there is one alone.
        depth: of a volume; None of an image.
        group: the group that the image, or all these points, belong to; None without groups.
        name: the image's id, as text; None without ids.
    """

    scores: Tensor
    labels: Tensor
    points: bool = False
    index: int | None = None
    depth: int | None = None
    group: str | None = None
    name: str | None = None

    @property
    def volume(self) -> bool:
        """Whether it is a volume."""
        return self.depth is not None

    def parts(self) -> Iterator[LabelledScores]:
        """What can be held in memory, from first to last: here all at once."""
        yield self

    @property
    def arrays(self) -> tuple[Any, Tensor]:
        """Scores and labels such that :func:`labelled_images` makes the same of them again."""
        if self.depth is not None:
            classes, rows, width = self.scores.shape
            size = (self.depth, rows // self.depth, width)
            return self.scores.view(1, classes, *size), self.labels.view(1, *size)
        return (self.scores.T if self.points else self.scores), self.labels

    @contextmanager
    def named(self) -> Iterator[None]:
        """Put the image's number before the message of an error that its content causes."""
        with _named(self.index):
            yield


@dataclass(frozen=True)
class LabelledParts(LabelledScores):
    """Scores and labels of one image or volume whose scores are read part by part.

    Its own ``scores`` are ``(K, 0, W)``, of the kind that the parts are of.

    Attributes:
        source: gives the parts.
    """

    source: ScoreParts | None = None

    def parts(self) -> Iterator[LabelledScores]:
        """The parts; none is kept."""
        assert self.source is not None
        top = 0
        for part in self.source.parts():
            scores = to_tensor(part, "scores")
            scores = as_image(scores) if self.volume else scores
            below = top + scores.shape[1]
            yield LabelledScores(scores, self.labels[top:below], index=self.index, group=self.group)
            top = below

    @property
    def arrays(self) -> tuple[ScoreParts, Tensor]:
        """The source and its labels."""
        assert self.source is not None
        return self.source, self.labels.view(self.source.shape[1:])

    def whole(self) -> LabelledScores:
        """All scores at once, where what is asked of a pixel depends on all others."""
        assert self.source is not None
        scores = to_tensor(self.source.whole(), "scores")
        return LabelledScores(
            as_image(scores) if self.volume else scores,
            self.labels,
            index=self.index,
            depth=self.depth,
            group=self.group,
            name=self.name,
        )


def elsewhere(item: LabelledScores) -> bool:
    """Whether an image is on another device than the CPU."""
    return not in_cpu_memory(item.scores)


@contextmanager
def _named(index: int | None) -> Iterator[None]:
    try:
        yield
    except ConformalError as error:
        if index is None:
            raise
        named = type(error)(f"image {index} (counted from 0): {error}")
        named.image = index
        raise named from error


def read_scores(scores: Any, name: str, *, points: bool) -> Tensor:
    """``scores`` as a tensor ``(K, H, W)``, ``(N, K, H, W)`` or of volumes ``(N, K, D, H, W)``.

    With points ``(N, K)``, too.

    Raises:
        InputTypeError: no array, or of a dtype that class scores are not read from.
        ShapeError: another number of dimensions, no pixel, or fewer than two classes.
    """
    tensor = to_tensor(scores, name)
    grid_of(tensor, name)
    shapes = "(K, H, W), (N, K, H, W) or (N, K, D, H, W)" + (" or (N, K)" if points else "")
    if tensor.ndim not in ((2, 3, 4, 5) if points else (3, 4, 5)):
        raise ShapeError(
            f"{name} must have shape {shapes}, got {tuple(tensor.shape)}: class scores have one "
            f"channel per class, before the height and the width"
        )
    num_classes = tensor.shape[0 if tensor.ndim == 3 else 1]
    if num_classes == 1:
        raise ShapeError(
            f"{name} must have shape {shapes} with at least two classes, got "
            f"{tuple(tensor.shape)}, which has one channel: for binary maps make the two channels "
            f"(background, foreground) with conformal_plugin.from_foreground(probability)"
        )
    if tensor.numel() == 0:
        raise ShapeError(f"{name} must hold at least one pixel, got shape {tuple(tensor.shape)}")
    return tensor


def labelled_images(scores: Any, labels: Any) -> Iterator[LabelledScores]:
    """Yield scores and labels image by image from any form that ``calibrate`` takes.

    Raises:
        InputTypeError: something that is neither an array nor an iterable of arrays.
        ShapeError: shapes against the convention or each other, or iterables of unequal length.
        DeviceMismatchError: scores and labels on different devices.
    """
    if is_array(scores) or isinstance(scores, ScoreParts):
        yield from _from_arrays(scores, labels)
        return
    for name, value in (("scores", scores), ("labels", labels)):
        if is_array(value) or not isinstance(value, Iterable) or isinstance(value, (str, bytes)):
            raise InputTypeError(
                f"scores and labels must both be arrays, or both be iterables of one array per "
                f"image; {name} is of type {type(value).__name__}"
            )
    missing = object()
    label_iterator = iter(labels)
    count = 0
    for image in scores:
        label = next(label_iterator, missing)
        if label is missing:
            raise ShapeError(
                f"labels ended after {count} images while scores went on: pass as many label maps "
                f"as score maps, in the same order"
            )
        with _named(count):
            items = _from_arrays(image, label)
        for item in items:
            yield replace(item, index=count)
        count += 1
    if next(label_iterator, missing) is not missing:
        raise ShapeError(
            f"scores ended after {count} images while labels went on: pass as many score maps as "
            f"label maps, in the same order"
        )


def rereadable(scores: Any, labels: Any) -> bool:
    """Whether both can be read more than once: arrays, and iterables that are no iterators."""
    return all(
        isinstance(value, ScoreParts)
        or is_array(value)
        or (isinstance(value, Iterable) and iter(value) is not value)
        for value in (scores, labels)
    )


def _in_parts(scores: ScoreParts, labels: Tensor) -> LabelledParts:
    volume = scores.ndim == 4
    if volume and labels.ndim == 4 and len(labels) == 1:  # a batch of one, as its labels may be
        labels = labels[0]
    if tuple(labels.shape) != scores.shape[1:]:
        raise ShapeError(
            f"labels must have shape {scores.shape[1:]} to go with scores of shape {scores.shape}, "
            f"got {tuple(labels.shape)}; resize one of them, or check the order of the axes"
        )
    kind = np.empty((scores.shape[0], 0, scores.shape[-1]), scores.dtype)
    return LabelledParts(
        to_tensor(kind, "scores"),
        as_image(labels) if volume else labels,
        depth=scores.shape[1] if volume else None,
        source=scores,
    )


def _from_arrays(scores: Any, labels: Any) -> list[LabelledScores]:
    if isinstance(scores, ScoreParts):
        return [_in_parts(scores, _read_labels(labels))]
    score_tensor = read_scores(scores, "scores", points=True)
    label_tensor = _read_labels(labels)
    shape = score_tensor.shape
    expected = shape[1:] if len(shape) == 3 else shape[:1] + shape[2:]
    if label_tensor.shape != expected:
        raise ShapeError(
            f"labels must have shape {tuple(expected)} to go with scores of shape {tuple(shape)}, "
            f"got {tuple(label_tensor.shape)}; resize one of them, or check the order of the axes: "
            f"classes come first, (K, H, W)"
        )
    if score_tensor.device != label_tensor.device:
        raise DeviceMismatchError(
            f"scores are on {score_tensor.device} and labels on {label_tensor.device}; move one "
            f"of them with .to(device)"
        )
    if len(shape) == 2:
        return [LabelledScores(score_tensor.T, label_tensor, points=True)]
    if len(shape) == 3:
        return [LabelledScores(score_tensor, label_tensor)]
    volume = len(shape) == 5
    if not volume:
        refuse_a_volume(score_tensor, label_tensor, "scores")
    return [
        LabelledScores(
            as_image(image) if volume else image,
            as_image(label) if volume else label,
            index=i,
            depth=shape[2] if volume else None,
        )
        for i, (image, label) in enumerate(zip(score_tensor, label_tensor))
    ]


def _read_labels(labels: Any) -> Tensor:
    tensor = to_tensor(labels, "labels")
    if tensor.dtype not in _LABEL_DTYPES:
        raise InputTypeError(
            f"labels must be integers (one class index per pixel), got "
            f"{str(tensor.dtype).removeprefix('torch.')}; convert them to uint8 or int64"
        )
    return tensor


def check_ignore_index(ignore_index: int, num_classes: int) -> None:
    """Refuse an ignore index that is a class.

    Raises:
        LabelError: ``ignore_index`` lies in ``0 ... num_classes - 1``.
    """
    if 0 <= ignore_index < num_classes:
        raise LabelError(
            f"ignore_index {ignore_index} is a class of the {num_classes} classes here; pass an "
            f"ignore_index that is none, such as {_free_label(num_classes)}, and use it in the "
            f"labels too"
        )


def _free_label(num_classes: int) -> int:
    """A label beyond the classes that a PNG of 8 or 16 bits holds."""
    return next((free for free in (255, 2**16 - 1) if free >= num_classes), -1)


def class_indices(item: LabelledScores, ignore_index: int) -> Tensor:
    """The labels as int64 with K in place of the ignore index, checked against K.

    Raises:
        LabelError: a label that is neither a class nor ``ignore_index``.
    """
    num_classes = item.scores.shape[0]
    labels = item.labels.to(torch.int64)
    ignored = labels == ignore_index
    stray = ((labels < 0) | (labels >= num_classes)) & ~ignored
    if bool(stray.any()):
        wrong = labels[stray]
        values = torch.unique(wrong).tolist()
        shown = ", ".join(map(str, values[:8])) + (", ..." if len(values) > 8 else "")
        raise LabelError(
            f"labels must be classes 0 ... {num_classes - 1} or the ignore index {ignore_index}, "
            f"found {shown} ({wrong.numel()} pixels); check the number of classes, read palette "
            f"masks as indices instead of colours, or say what these values mean with a label map "
            f"(conformal_plugin.LabelMap, --label-map on the command line): classes counted from 1 "
            f"are reduce-zero-label"
        )
    return labels.masked_fill(ignored, num_classes)


def true_scores(item: LabelledScores, indices: Tensor) -> Tensor:
    """Each pixel's raw score of its true class, of the labels' shape; any value where ignored."""
    scores = item.scores
    unsigned = getattr(torch, "uint16", None)
    if unsigned is not None and scores.dtype == unsigned:  # torch gathers no uint16
        return _gather(scores.view(torch.int16), indices).view(unsigned)
    return _gather(scores, indices)


def _gather(scores: Tensor, indices: Tensor) -> Tensor:
    present = indices.clamp(max=scores.shape[0] - 1)
    return scores.gather(0, present.unsqueeze(0)).squeeze(0)


def check_patterns(patterns: Tensor, raw: Tensor, used: Tensor, grid: ScoreGrid) -> None:
    """Refuse NaN and scores outside [0, 1] among the scores that are used.

    Raises:
        ScoreError: naming one such value and how many there are.
    """
    wrong = ((patterns < 0) | (patterns > grid.top)) & used
    if bool(wrong.any()):
        raise ScoreError(score_message(raw[wrong]))


def score_message(wrong: Tensor) -> str:
    """What to say of scores that are NaN or outside [0, 1]."""
    values = wrong.to(torch.float64)
    nans = int(values.isnan().sum())
    finite = values[~values.isnan()]
    parts = [f"{nans} NaN"] if nans else []
    if finite.numel():
        low, high = finite.aminmax()
        parts.append(f"{finite.numel()} outside, between {float(low):.9g} and {float(high):.9g}")
        if not nans and low > 1 and high < _ROUNDED:
            return (
                f"scores must lie in [0, 1], found {parts[0]}: a sum of probabilities exceeds 1 by "
                f"its rounding; clip it, with scores.clip(0, 1) for instance"
            )
    return (
        f"scores must lie in [0, 1], found {' and '.join(parts)}; pass probabilities instead of "
        f"logits (softmax or sigmoid), clip scores that exceed 1, and find where NaN comes from"
    )
