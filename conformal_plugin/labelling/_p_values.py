"""How much each pixel's label should count: its conformal p-value within its class, made even."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.calibration import STEPS, Calibration, LabelWeights
from conformal_plugin.errors import OptionError, ShapeError
from conformal_plugin.labelling._thresholds import least_scores
from conformal_plugin.scores import (
    ScoreParts,
    back_to_kind,
    check_range,
    extremes,
    grid_of,
    ordered,
    read_scores,
    to_tensor,
)

__all__ = ["label_weights", "p_values"]


def label_weights(masks: Any, labels: Any, calibration: Calibration) -> Any:
    """How much each pixel's label should count in a loss. Heuristic.

    The label's :func:`p_values` over the mean of the p-values that labels of its class have on the
    labelled images. Among the labels of one class those that are typical of it count most; as their
    mean is about 1 in every class, none gains on another. Students of such weights: docs/beds.md.

    Args:
        masks, labels, calibration: as for :func:`p_values`.

    Returns:
        float32 of the labels' shape, of the kind and on the device of ``masks``; 0 where dropped.

    Raises:
        OptionError, ShapeError, InputTypeError, ScoreError: as :func:`p_values`.
    """
    values = to_tensor(p_values(masks, labels, calibration), "p-values")
    given = to_tensor(labels, "labels").to(values.device).long()
    classes = given.clamp(0, calibration.num_classes - 1)  # what is none has a p-value of 0
    means = torch.tensor(_weights(calibration).means, dtype=torch.float32, device=values.device)
    found = values / means[classes]
    return found.numpy() if isinstance(masks, ScoreParts) else back_to_kind(masks)(found)


def p_values(masks: Any, labels: Any, calibration: Calibration) -> Any:
    """How typical each label's score is of its class: its conformal p-value. Heuristic.

    The share of the class's own calibration pixels that score no more than this pixel does, in
    steps of one sixteenth (their middle). Of pixels that truly are of the class it is uniform, by
    and large; a wrong label mostly scores low for its class and has a small one. It makes a weight
    of a pixel's loss, see :func:`label_weights`. Classes that fewer than five labelled images hold
    are compared with the pixels of all classes together.

    Args:
        masks: class scores as in :func:`conformal_plugin.filter`; or one map that is read part by
            part.
        labels: made of them, ``(H, W)``, ``(N, H, W)`` or ``(N, D, H, W)``; what is no class is a
            dropped pixel.
        calibration: what :func:`conformal_plugin.choose` or ``conformal-plugin calibrate`` without
            ``--alpha`` has found, which holds thresholds of all levels.

    Returns:
        float32 of the labels' shape, of the kind and on the device of ``masks``; 0 where dropped.

    Raises:
        OptionError: the calibration holds no thresholds of other levels.
        ShapeError: labels of another size, or scores of other classes.
        InputTypeError, ScoreError: bad masks.
    """
    ladder = _weights(calibration).ladder
    if isinstance(masks, ScoreParts):
        return _of_parts(masks, np.asarray(labels), calibration)
    scores = read_scores(masks, "masks", points=False)
    batch = scores.unsqueeze(0) if scores.ndim == 3 else scores
    num_classes = batch.shape[1]
    if num_classes != calibration.num_classes:
        raise ShapeError(
            f"the calibration was made with {calibration.num_classes} classes and the masks have "
            f"{num_classes}; calibrate with maps of the same annotator and class list"
        )
    given = to_tensor(labels, "labels").to(batch.device)
    shape = given.shape
    if shape != scores.shape[1:] and shape != batch.shape[:1] + batch.shape[2:]:
        raise ShapeError(
            f"labels must be of the size of the masks, {tuple(scores.shape)}, without the classes, "
            f"got {tuple(shape)}; pass those that filter has made of them"
        )
    grid = grid_of(batch, "masks")
    check_range(extremes(batch), batch, grid)
    given = given.reshape(batch.shape[:1] + batch.shape[2:]).long()
    kept = (given >= 0) & (given < num_classes)
    label = torch.where(kept, given, 0)
    own = ordered(batch).gather(1, label.unsqueeze(1))[:, 0]
    steps = torch.zeros(own.shape, dtype=torch.float32, device=own.device)
    for thresholds in ladder:
        steps += own >= _bounds(least_scores(thresholds, grid, num_classes), own)[label]
    values = torch.where(kept, (steps + 0.5) / STEPS, 0.0)
    return back_to_kind(masks)(values.reshape(shape))


def _weights(calibration: Calibration) -> LabelWeights:
    weights = calibration.label_weights
    if weights is None:
        raise OptionError(
            "p-values take thresholds of all levels, which this calibration does not hold; take "
            "the one of choose(), or run `conformal-plugin calibrate` without --alpha"
        )
    return weights


def _bounds(least: list[float | int | None], like: Tensor) -> Tensor:
    """The least scores in the set ``(K,)``; what no score reaches where there is none."""
    never = math.nan if like.is_floating_point() else torch.iinfo(like.dtype).max
    bounds = [never if bound is None else bound for bound in least]
    return torch.tensor(bounds, dtype=like.dtype, device=like.device)


def _of_parts(
    masks: ScoreParts, labels: np.ndarray[Any, Any], calibration: Calibration
) -> np.ndarray[Any, Any]:
    out = np.empty(labels.shape, np.float32)
    for rows, part in masks.placed():
        given = labels[rows]
        batched = given[None] if part.ndim == 5 else given
        out[rows] = p_values(part, batched, calibration).reshape(given.shape)
    return out
