"""What each place of a threshold path keeps of one image, and how much of that is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.betting import by_group
from conformal_plugin.errors import OptionError, ShapeError
from conformal_plugin.labelling import check_rule, score_of, unfiltered_labels
from conformal_plugin.precision._capped_counts import capped_curves
from conformal_plugin.precision._path import ThresholdPath
from conformal_plugin.scores import (
    LabelledParts,
    LabelledScores,
    ScoreGrid,
    check_ignore_index,
    check_range,
    class_indices,
    extremes,
    grid_named,
    grid_of,
    ordered,
)

__all__ = ["ImageCounts", "PathCounts", "count_image"]


@dataclass(frozen=True, eq=False)
class PathCounts:
    """What each place of a path keeps in each image, in an order that the data does not influence.

    Attributes:
        ids: one per image.
        kept: int64 ``(n, G)``, pixels that get a label.
        wrong: int64 ``(n, G)``, pixels that get a wrong one.
        pixels: int64 ``(n,)``, labelled pixels.
        areas: int64 ``(n,)``, height times width.
        classes: int64 ``(n, K)``, pixels by true class.
        kept_foreground: int64 ``(n, G)``, pixels that get a label other than the background; None
            where a state of release 0.1.0 did not count them.
        wrong_foreground: int64 ``(n, G)``, those of them that get a wrong one; likewise.
        groups: the group of each image; None where each image is an independent draw.
    """

    ids: tuple[str, ...]
    kept: np.ndarray[Any, Any]
    wrong: np.ndarray[Any, Any]
    pixels: np.ndarray[Any, Any]
    areas: np.ndarray[Any, Any]
    classes: np.ndarray[Any, Any]
    kept_foreground: np.ndarray[Any, Any] | None = None
    wrong_foreground: np.ndarray[Any, Any] | None = None
    groups: tuple[str, ...] | None = None

    @property
    def n_groups(self) -> int | None:
        """How many groups there are; None without groups."""
        return None if self.groups is None else len(set(self.groups))

    @property
    def groups_per_class(self) -> np.ndarray[Any, Any] | None:
        """int64 ``(K,)``, groups that hold the class; None without groups."""
        if self.groups is None:
            return None
        return np.asarray((by_group(self.classes, self.groups) > 0).sum(axis=0))

    def subset(self, ids: Iterable[Any]) -> PathCounts:
        """The counts of the images with these ids, in the same order as here.

        Raises:
            OptionError: an id that is not here.
        """
        wanted = {str(name) for name in ids}
        missing = sorted(wanted - set(self.ids))
        if missing:
            raise OptionError(
                f"{len(missing)} ids were never counted, {missing[0]!r} for one; count these "
                f"images with PrecisionCalibrator.update first"
            )
        return self.taken([i for i, name in enumerate(self.ids) if name in wanted])

    def taken(self, rows: Sequence[int]) -> PathCounts:
        """The counts at these rows, in this order; a row may be taken more than once."""
        names = [f.name for f in fields(self) if f.name not in ("ids", "groups")]
        chosen: dict[str, Any] = {
            name: getattr(self, name)[list(rows)]
            for name in names
            if getattr(self, name) is not None
        }
        if self.groups is not None:
            chosen["groups"] = tuple(self.groups[row] for row in rows)
        return replace(self, ids=tuple(self.ids[row] for row in rows), **chosen)


@dataclass(frozen=True, eq=False)
class ImageCounts:
    """One image's counts.

    Attributes:
        kept: int64 ``(G,)``, pixels that get a label at each place.
        wrong: int64 ``(G,)``, pixels that get a wrong one.
        classes: int64 ``(K,)``, pixels by true class.
        area: height times width.
        kept_foreground, wrong_foreground: the same of labels other than the background; None where
            a state of release 0.1.0 did not count them.
        group: the group that the image belongs to; None without groups.
    """

    kept: np.ndarray[Any, Any]
    wrong: np.ndarray[Any, Any]
    classes: np.ndarray[Any, Any]
    area: int
    kept_foreground: np.ndarray[Any, Any] | None = None
    wrong_foreground: np.ndarray[Any, Any] | None = None
    group: str | None = None

    def same(self, other: ImageCounts) -> bool:
        """Whether the two agree in all that both have counted."""
        return (
            self.area == other.area
            and self.group == other.group
            and np.array_equal(self.kept, other.kept)
            and np.array_equal(self.wrong, other.wrong)
            and np.array_equal(self.classes, other.classes)
            and _same_where_known(self.kept_foreground, other.kept_foreground)
            and _same_where_known(self.wrong_foreground, other.wrong_foreground)
        )


def count_image(
    item: LabelledScores,
    path: ThresholdPath,
    *,
    rule: str,
    background: int,
    ignore_index: int,
    of: str = "all",
) -> ImageCounts | None:
    """Count one image at every place of ``path`` in one reading; None without a labelled pixel.

    Args:
        item: scores and labels.
        path: the places.
        rule, background, ignore_index: as in :func:`conformal_plugin.filter`.
        of: the labels that the path's caps count, ``"all"`` or ``"foreground"``.

    Raises:
        ShapeError: separate points instead of an image.
        ScoreError, LabelError, OptionError: bad scores, labels or options.
    """
    if item.points:
        raise ShapeError(
            f"precision is controlled per image, and scores of shape (N, K) are separate points, "
            f"here {tuple(item.scores.T.shape)}; pass images (K, H, W)"
        )
    scores = item.scores
    num_classes = scores.shape[0]
    grid = grid_of(scores)
    check_rule(rule, background, num_classes)
    check_ignore_index(ignore_index, num_classes)
    if isinstance(item, LabelledParts):
        one: Callable[[LabelledScores], ImageCounts | None] = partial(
            count_image,
            path=path,
            rule=rule,
            background=background,
            ignore_index=ignore_index,
            of=of,
        )
        if path.capped:  # which pixels keep their label depends on all others of the image
            return one(item.whole())
        return _added_up([one(part) for part in item.parts()], item)
    check_range(extremes(scores), scores, grid)
    truth = class_indices(item, ignore_index)
    used = truth < num_classes
    classes = torch.bincount(truth[used], minlength=num_classes).cpu().numpy()
    if not classes.any():
        return None
    if path.capped or not path.ascending:
        options: dict[str, Any] = {"rule": rule, "background": background, "of": of}
        curves = capped_curves(scores, path, grid, **options, truth=truth, used=used)
    else:
        changes = _CHANGES[rule](scores, path, grid, background)
        curves = _curves(changes, truth, used, len(path), background)
    kept, wrong, kept_foreground, wrong_foreground = curves
    return ImageCounts(kept, wrong, classes, truth.numel(), kept_foreground, wrong_foreground)


def _added_up(parts: Sequence[ImageCounts | None], item: LabelledScores) -> ImageCounts | None:
    """The counts of an image, from those of its parts."""
    counted = [part for part in parts if part is not None]
    if not counted:
        return None
    names = [field.name for field in fields(ImageCounts) if field.name != "area"]
    sums = {name: np.sum([getattr(part, name) for part in counted], axis=0) for name in names}
    return ImageCounts(**sums, area=item.labels.numel())


_Change = tuple[Tensor, Tensor, Tensor]
"""A label map and the places of the path, per pixel, where that label comes and where it goes."""


def _foreground_first(
    scores: Tensor, path: ThresholdPath, grid: ScoreGrid, background: int
) -> Iterator[_Change]:
    foreground = unfiltered_labels(scores, "foreground-first", background)
    comes = _entry(score_of(scores, foreground), path.foreground, grid)
    yield foreground, comes, torch.full_like(comes, len(path))
    alone = _entry(scores[background], path.background, grid)
    yield torch.full_like(foreground, background), alone, torch.maximum(alone, comes)


def _most_probable(
    scores: Tensor, path: ThresholdPath, grid: ScoreGrid, background: int
) -> Iterator[_Change]:
    labels = unfiltered_labels(scores, "most-probable", background)
    comes = _entry(score_of(scores, labels), path.foreground, grid)
    yield labels, comes, torch.full_like(comes, len(path))


def _singleton(
    scores: Tensor, path: ThresholdPath, grid: ScoreGrid, background: int
) -> Iterator[_Change]:
    labels = unfiltered_labels(scores, "most-probable", background)
    comes = _entry(score_of(scores, labels), path.foreground, grid)
    second = ordered(scores).scatter(0, labels.unsqueeze(0), -1).amax(dim=0)
    yield labels, comes, _entry(second, path.foreground, grid)


_CHANGES: dict[str, Callable[[Tensor, ThresholdPath, ScoreGrid, int], Iterator[_Change]]] = {
    "foreground-first": _foreground_first,
    "most-probable": _most_probable,
    "singleton": _singleton,
}


def _entry(scores: Tensor, thresholds: np.ndarray[Any, Any], grid: ScoreGrid) -> Tensor:
    """The first place whose threshold puts a raw score into the set, ``len(thresholds)`` if none.

    The comparison is :func:`conformal_plugin.filter`'s own, with the smallest score in the set.
    """
    dtype = torch.float64 if scores.dtype == torch.float64 else torch.float32
    bounds = torch.tensor(
        _least_scores(grid.name, tuple(thresholds.tolist())), dtype=dtype, device=scores.device
    )
    # Bounds at or below the score are the places, counted from the loosest, that let it in.
    return len(thresholds) - torch.bucketize(scores.to(dtype).contiguous(), bounds, right=True)


@lru_cache(maxsize=32)
def _least_scores(grid: str, thresholds: tuple[float, ...]) -> tuple[float, ...]:
    """The smallest raw score in the set at each threshold, ascending: from loose to strict."""
    least = [grid_named(grid).least(threshold) for threshold in reversed(thresholds)]
    return tuple(math.inf if bound is None else bound for bound in least)


def _curves(
    changes: Iterator[_Change], truth: Tensor, used: Tensor, places: int, background: int
) -> tuple[np.ndarray[Any, Any], ...]:
    """At each place, int64 ``(G,)``: labels kept, wrong ones, and both of foreground labels."""
    size = places + 1  # the last column is for what never comes, or never goes
    totals = torch.zeros(4 * size, dtype=torch.int64, device=truth.device)
    for labels, comes, goes in changes:
        kinds = (2 * (labels != background) + (labels != truth))[used] * size
        totals += torch.bincount(kinds + comes[used], minlength=4 * size)
        totals -= torch.bincount(kinds + goes[used], minlength=4 * size)
    right, wrong, right_foreground, wrong_foreground = (
        totals.reshape(4, size).cumsum(dim=1)[:, :places].cpu().numpy()
    )
    kept_foreground = right_foreground + wrong_foreground
    all_wrong = wrong + wrong_foreground
    return right + right_foreground + all_wrong, all_wrong, kept_foreground, wrong_foreground


def _same_where_known(
    first: np.ndarray[Any, Any] | None, second: np.ndarray[Any, Any] | None
) -> bool:
    return first is None or second is None or np.array_equal(first, second)
