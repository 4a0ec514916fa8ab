"""The second reading: what every rule labels at every threshold of one image, counted at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.labelling import score_of, unfiltered_labels
from conformal_plugin.scores import (
    LabelledScores,
    ScoreGrid,
    check_range,
    class_indices,
    extremes,
    grid_of,
    ordered,
)

__all__ = ["count_labels"]

_Change = tuple[Tensor, Tensor, "Tensor | None"]
"""A label map and, per pixel, the places where that label comes and where it goes, if it does."""


def count_labels(
    item: LabelledScores,
    qhats: Sequence[float],
    *,
    rules: Sequence[str],
    background: int,
    ignore_index: int,
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Count an image's labels at each threshold and last at the raw annotator's (argmax).

    A pixel's label changes at most twice as the threshold grows, so the places where it changes
    are counted, and sums over them give every threshold.

    Args:
        item: scores ``(K, H, W)`` and labels.
        qhats: thresholds for all classes, ascending; infinite ones put every class in every set.
        rules, background, ignore_index: as in :func:`conformal_plugin.filter`.

    Returns:
        Labels by class and those of them that are right, int64 ``(rules x thresholds + 1, K)``
        each, over pixels that are not ignored.

    Raises:
        ScoreError, LabelError: bad scores or labels.
    """
    scores = item.scores
    grid = grid_of(scores)
    check_range(extremes(scores), scores, grid)
    truth = class_indices(item, ignore_index)
    bounds = _bounds(qhats, scores, grid)
    best = unfiltered_labels(scores, "most-probable", background)
    changes = [_changes(rule, scores, best, bounds, background) for rule in rules]
    parts = [_curves(change, truth, scores.shape[0], len(bounds)) for change in changes]
    raw: Iterator[_Change] = iter([(best, torch.zeros_like(best, dtype=torch.int32), None)])
    parts.append(_curves(raw, truth, scores.shape[0], 1))
    labelled, right = (np.concatenate(part) for part in zip(*parts))
    return labelled, right


def _bounds(qhats: Sequence[float], scores: Tensor, grid: ScoreGrid) -> Tensor:
    """The smallest raw score in the set at each threshold, ascending: from loose to strict."""
    least = [grid.least(qhat) for qhat in reversed(qhats)]
    dtype = torch.float64 if scores.dtype == torch.float64 else torch.float32
    values = [math.inf if bound is None else bound for bound in least]
    return torch.tensor(values, dtype=dtype, device=scores.device)


def _changes(
    rule: str, scores: Tensor, best: Tensor, bounds: Tensor, background: int
) -> Iterator[_Change]:
    if rule == "foreground-first":
        foreground = unfiltered_labels(scores, rule, background)
        comes = _entry(score_of(scores, foreground), bounds)
        alone = _entry(scores[background], bounds)
        yield foreground, comes, None
        yield torch.full_like(foreground, background), alone, torch.maximum(alone, comes)
        return
    comes = _entry(score_of(scores, best), bounds)
    if rule == "most-probable":
        yield best, comes, None
        return
    second = ordered(scores).scatter(0, best.unsqueeze(0), -1).amax(dim=0)
    yield best, comes, _entry(second, bounds)


def _entry(scores: Tensor, bounds: Tensor) -> Tensor:
    """The first threshold, counted from the strictest, that lets a raw score into the set."""
    values = scores.to(bounds.dtype).contiguous()
    return len(bounds) - torch.bucketize(values, bounds, right=True, out_int32=True)


def _curves(
    changes: Iterator[_Change], truth: Tensor, num_classes: int, thresholds: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Labels by class and right ones at each threshold, int64 ``(thresholds, K)`` each."""
    shape = (thresholds + 1, num_classes, 2)
    ignored = truth == num_classes
    total = torch.zeros(shape, dtype=torch.int64, device=truth.device)
    for labels, comes, goes in changes:
        kind = 2 * labels.to(torch.int32) + (labels == truth)
        for place, sign in ((comes, 1), (goes, -1)):
            if place is None:
                continue
            # Beyond the last threshold nothing is read off.
            counted = place.masked_fill(ignored, thresholds)
            keys = (2 * num_classes * counted).add_(kind).flatten()
            total += sign * torch.bincount(keys, minlength=total.numel()).reshape(shape)
    wrong, right = total.cumsum(dim=0)[:thresholds].cpu().numpy().transpose(2, 0, 1)
    return wrong + right, right
