"""Fitting a combination on labelled images, which then cannot be calibrated on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from conformal_plugin.combining._combination import Combination, log_scores
from conformal_plugin.combining._parts import in_step
from conformal_plugin.errors import EmptyCalibrationError, LabelError, ShapeError
from conformal_plugin.files import ScoreMap
from conformal_plugin.scores import ScoreParts

__all__ = ["LabelledMaps", "fit_pick", "fit_stack"]

LabelledMaps: TypeAlias = "tuple[str, Sequence[ScoreMap | ScoreParts], Any]"
"""An image's id, its map from each annotator, and its true classes ``(H, W)``; of volumes with a
depth before the height."""

_PIXELS_PER_IMAGE = 512
# Far below what the pixels of one image say, and enough to hold a class that no image has in place.
_RIDGE = 1e-3
_STEPS = 200
# So that threads that sum in another order find the same numbers, and a resumed run its own store.
_DECIMALS = 3


def fit_pick(images: Iterable[LabelledMaps], *, ignore_index: int = 255) -> Combination:
    """For each class the annotator whose most probable labels have the higher IoU.

    A class without a pixel, or with a tie, goes to the annotator with the highest mean IoU.

    Args:
        images: the labelled images to fit on; read once.
        ignore_index: the label of pixels without a class.

    Raises:
        EmptyCalibrationError: there is no labelled pixel.
        ShapeError: maps or a label that do not fit each other.
        ScoreError: a score is not in [0, 1].
        LabelError: a label that is no class.
    """
    names: list[str] = []
    confusion: npt.NDArray[np.int64] | None = None
    for name, scores, truth in images:
        names.append(name)
        labels = _checked(name, scores, truth, ignore_index)
        count, classes = len(scores), scores[0].shape[0]
        if confusion is None:
            confusion = np.zeros((count, classes, classes), np.int64)
        for rows, arrays in in_step(scores):
            valid = labels[rows] != ignore_index
            true = labels[rows][valid].astype(np.int64) * classes
            for table, array in zip(confusion, arrays):
                pairs = true + array.argmax(0)[valid]
                table += np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
    if confusion is None or not confusion.any():
        raise _nothing()
    iou = _iou(confusion)
    best = int(np.nanmean(iou, axis=1).argmax())
    first = np.concatenate([[best], np.delete(np.arange(len(iou)), best)])
    chosen = first[np.nan_to_num(iou, nan=-1.0)[first].argmax(0)]
    weights = (np.arange(len(iou))[:, None] == chosen).astype(float)
    return Combination("pick", _rows(weights), (0.0,) * iou.shape[1], tuple(names))


def fit_stack(images: Iterable[LabelledMaps], *, ignore_index: int = 255) -> Combination:
    """One weight for each annotator and one offset for each class, by least cross-entropy.

    At most 512 pixels of an image are looked at, evenly spaced among its labelled ones, and every
    image counts the same. A ridge holds the weights near the geometric mean and the offsets near
    zero.

    Args:
        images: the labelled images to fit on; read once.
        ignore_index: the label of pixels without a class.

    Raises:
        EmptyCalibrationError: there is no labelled pixel.
        ShapeError: maps or a label that do not fit each other.
        ScoreError: a score is not in [0, 1].
        LabelError: a label that is no class.
    """
    names: list[str] = []
    logs: list[npt.NDArray[np.float32]] = []
    truths, shares = [], []
    for name, scores, truth in images:
        names.append(name)
        labels = _checked(name, scores, truth, ignore_index)
        places = np.flatnonzero(labels != ignore_index)
        if not len(places):
            continue
        some = min(_PIXELS_PER_IMAGE, len(places))
        places = places[np.linspace(0, len(places) - 1, some).round().astype(int)]
        logs.extend(log_scores(some_scores) for some_scores in _at(scores, places))
        truths.append(labels.ravel()[places].astype(np.int64))
        shares.append(np.full(some, 1.0 / some))
    if not logs:
        raise _nothing()
    values = torch.from_numpy(np.concatenate(logs, axis=2)).double()
    weights, offsets = _least_cross_entropy(
        values,
        torch.from_numpy(np.concatenate(truths)),
        torch.from_numpy(np.concatenate(shares)) / len(shares),
    )
    table = np.broadcast_to(weights[:, None], values.shape[:2])
    return Combination("stack", _rows(table), tuple(offsets.tolist()), tuple(names))


def _least_cross_entropy(
    logs: torch.Tensor, labels: torch.Tensor, shares: torch.Tensor
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The numbers of the pool; the loss is convex in them."""
    annotators, classes, _ = logs.shape
    start = torch.full((annotators,), 1.0 / annotators, dtype=torch.float64)
    weights = start.clone().requires_grad_()
    offsets = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights, offsets], max_iter=_STEPS, line_search_fn="strong_wolfe", tolerance_change=1e-10
    )

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        values = offsets[:, None] + (weights[:, None, None] * logs).sum(0)
        each = values.logsumexp(0) - values.gather(0, labels[None])[0]
        ridge = (weights - start).square().sum() + offsets.square().sum()
        loss = (shares * each).sum() + _RIDGE * ridge
        torch.autograd.backward(loss)
        return loss

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    rounded = (value.detach().numpy().round(_DECIMALS) for value in (weights, offsets))
    return next(rounded), next(rounded)


def _checked(
    name: str, scores: Sequence[ScoreMap | ScoreParts], truth: Any, ignore_index: int
) -> npt.NDArray[np.integer[Any]]:
    """The labels, which are classes of the maps or ``ignore_index``."""
    labels, (classes, *size) = np.asarray(truth), scores[0].shape
    if labels.shape != tuple(size):
        raise ShapeError(
            f"image {name}: the label is {labels.shape} and its maps are {tuple(size)}; "
            f"have the annotators score the photo in its label's size"
        )
    odd = (labels != ignore_index) & ((labels < 0) | (labels >= classes))
    if odd.any():
        raise LabelError(
            f"image {name}: the label holds {labels[odd][0]}, which is neither a class (0 ... "
            f"{classes - 1}) nor the ignore index {ignore_index}"
        )
    return labels


def _at(
    scores: Sequence[ScoreMap | ScoreParts], places: npt.NDArray[np.int64]
) -> Iterator[list[npt.NDArray[np.float32]]]:
    """The scores ``(K, some)`` of each map at sorted places of the flattened image, by parts."""
    row = int(np.prod(scores[0].shape[2:]))
    for rows, arrays in in_step(scores):
        first, last = np.searchsorted(places, (rows.start * row, rows.stop * row))
        here = places[first:last] - rows.start * row
        yield [array.reshape(len(array), -1)[:, here] for array in arrays]


def _iou(confusion: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """For each annotator and class; NaN where no pixel has the class."""
    right = np.diagonal(confusion, axis1=1, axis2=2)
    true = confusion.sum(2)
    union = true + confusion.sum(1) - right
    return np.where(true > 0, right / np.maximum(union, 1), np.nan)


def _rows(weights: Any) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row) for row in np.asarray(weights).tolist())


def _nothing() -> EmptyCalibrationError:
    return EmptyCalibrationError(
        "the images to fit a combination on have no labelled pixel; name some that do"
    )
