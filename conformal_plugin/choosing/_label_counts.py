"""The second reading: what every rule labels at every threshold of one image, counted at once."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.choosing._ways import Family, Grid
from conformal_plugin.labelling import image_labels, score_of
from conformal_plugin.scores import (
    LabelledParts,
    LabelledScores,
    ScoreGrid,
    check_range,
    class_indices,
    extremes,
    grid_of,
    ordered,
)

__all__ = ["LabelCounts", "count_labels"]

_Change = tuple[Tensor, Tensor, "Tensor | None"]
"""A label map and, per pixel, the places where that label comes and where it goes, if it does."""

_Array = np.ndarray[Any, Any]

_PART_PIXELS = 2**17
"""As many of a map that is read part by part are counted at once: it takes their scores a few times
over."""


class LabelCounts:
    """Pixels by candidate, true class and label, ignored and dropped ones left out.

    Kept for the combinations that occur: an image holds few classes.

    Args:
        shape: candidates, K, K.
        keys: the combinations as indices into the flattened shape, ascending, each once.
        counts: the pixels of each.
    """

    def __init__(self, shape: tuple[int, int, int], keys: _Array, counts: _Array) -> None:
        self.shape = shape
        self.keys = keys
        self.counts = counts

    @classmethod
    def of(cls, confusion: _Array) -> LabelCounts:
        """From the whole table, int64 ``(candidates, K, K)``."""
        keys = np.flatnonzero(confusion)
        return cls(confusion.shape, keys, confusion.ravel()[keys])

    def __add__(self, other: LabelCounts) -> LabelCounts:
        keys, places = np.unique(np.concatenate([self.keys, other.keys]), return_inverse=True)
        counts = np.zeros(len(keys), dtype=np.int64)
        np.add.at(counts, places, np.concatenate([self.counts, other.counts]))
        return LabelCounts(self.shape, keys, counts)

    @property
    def confusion(self) -> _Array:
        """The whole table, int64 ``(candidates, K, K)``."""
        table = np.zeros(self.shape, dtype=np.int64)
        table.ravel()[self.keys] = self.counts
        return table


def count_labels(
    item: LabelledScores,
    qhats: Sequence[float],
    by_class: _Array | None = None,
    *,
    ways: Grid,
    ignore_index: int,
) -> LabelCounts:
    """Count an image's labels in every way, last the raw annotator's (argmax).

    With one threshold for all classes a pixel's label changes at most twice as that grows, so the
    places where it changes are counted, and sums over them give every threshold.

    Args:
        item: scores ``(K, H, W)`` and labels, or what reads them part by part.
        qhats: thresholds for all classes, ascending; infinite ones put every class in every set.
        by_class: thresholds ``(class_alphas, K)``; None where no way has one per class.
        ways: what to count.
        ignore_index: as in :func:`conformal_plugin.filter`.

    Returns:
        ``ways.size`` candidates.

    Raises:
        ScoreError, LabelError: bad scores or labels.
    """
    if isinstance(item, LabelledParts):
        options: dict[str, Any] = {"ways": ways, "ignore_index": ignore_index}
        some = (rows for part in item.parts() for rows in _in_rows(part))
        parts = (count_labels(rows, qhats, by_class, **options) for rows in some)
        return functools.reduce(LabelCounts.__add__, parts)
    scores = item.scores
    grid = grid_of(scores)
    check_range(extremes(scores), scores, grid)
    truth = class_indices(item, ignore_index)
    num_classes = scores.shape[0]
    bounds = _bounds(qhats, scores, grid)
    best = _unfiltered(scores, grid, "most-probable", 0)
    changes = [_changes(family, scores, grid, best, bounds) for family in ways.pooled]
    tables = [_curves(change, truth, num_classes, len(bounds)) for change in changes]
    if by_class is not None:
        for family in ways.by_class:
            for thresholds in by_class:
                found = image_labels(
                    scores,
                    thresholds.tolist(),
                    grid,
                    rule=family.rule,
                    background=family.background or 0,
                    ignore_index=num_classes,
                )
                tables.append(_count(found, truth, num_classes))
    tables.append(_count(best, truth, num_classes))
    return LabelCounts.of(np.concatenate(tables))


def _in_rows(part: LabelledScores) -> Iterator[LabelledScores]:
    """Some rows at a time."""
    height, width = part.labels.shape
    rows = max(1, _PART_PIXELS // width)
    for top in range(0, height, rows):
        some = slice(top, top + rows)
        yield LabelledScores(part.scores[:, some], part.labels[some])


def _unfiltered(scores: Tensor, grid: ScoreGrid, rule: str, background: int) -> Tensor:
    """The labels when every class is in every set, int64."""
    everything = [math.inf] * len(scores)
    options: dict[str, Any] = {"background": background, "ignore_index": len(scores)}
    return image_labels(scores, everything, grid, rule=rule, **options).to(torch.int64)


def _count(labels: Tensor, truth: Tensor, num_classes: int) -> _Array:
    """Of one label map, in which dropped pixels are ``num_classes``, ``(1, K, K)``."""
    size = num_classes + 1
    pairs = torch.bincount((truth * size + labels.to(truth.dtype)).flatten(), minlength=size**2)
    table: _Array = pairs.reshape(1, size, size)[:, :num_classes, :num_classes].cpu().numpy()
    return table


def _bounds(qhats: Sequence[float], scores: Tensor, grid: ScoreGrid) -> Tensor:
    """The smallest raw score in the set at each threshold, ascending: from loose to strict."""
    least = [grid.least(qhat) for qhat in reversed(qhats)]
    dtype = torch.float64 if scores.dtype == torch.float64 else torch.float32
    values = [math.inf if bound is None else bound for bound in least]
    return torch.tensor(values, dtype=dtype, device=scores.device)


def _changes(
    family: Family, scores: Tensor, grid: ScoreGrid, best: Tensor, bounds: Tensor
) -> Iterator[_Change]:
    rule = family.rule
    if rule == "foreground-first":
        background = family.background or 0
        foreground = _unfiltered(scores, grid, rule, background)
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


def _curves(changes: Iterator[_Change], truth: Tensor, num_classes: int, thresholds: int) -> _Array:
    """Pixels at each threshold, int64 ``(thresholds, K, K)``."""
    shape = (thresholds + 1, num_classes + 1, num_classes)
    total = truth.new_zeros(shape)
    for labels, comes, goes in changes:
        kind = truth * num_classes + labels
        for place, sign in ((comes, 1), (goes, -1)):
            if place is None:
                continue
            keys = (place.to(torch.int64) * (num_classes * (num_classes + 1))).add_(kind).flatten()
            total += sign * torch.bincount(keys, minlength=total.numel()).reshape(shape)
    # Beyond the last threshold nothing is read off, and the last true class stands for ignored.
    curves: _Array = total.cumsum(dim=0)[:thresholds, :num_classes].cpu().numpy()
    return curves
