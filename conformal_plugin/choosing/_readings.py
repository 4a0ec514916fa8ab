"""Reads the labelled images twice, fold by fold: for thresholds, then for the labels at these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformal_plugin.calibration import ScoreCounter, add_reading
from conformal_plugin.choosing._fold_thresholds import FoldScores, codes_by_class
from conformal_plugin.choosing._label_counts import LabelCounts, count_labels
from conformal_plugin.choosing._ways import MIN_IMAGES, Grid
from conformal_plugin.errors import (
    EmptyCalibrationError,
    InputTypeError,
    OptionError,
    ShapeError,
    TooFewImagesError,
)
from conformal_plugin.processes import beside_others, in_parallel
from conformal_plugin.scores import (
    LabelledScores,
    SeenIds,
    check_ignore_index,
    elsewhere,
    grid_of,
    read_true_scores,
    rereadable,
)

__all__ = [
    "FoldThresholds",
    "Images",
    "counts_by_fold",
    "read_labels",
    "read_thresholds",
    "same_pixels",
]


@dataclass(frozen=True, eq=False)
class FoldThresholds:
    """What each fold is labelled with, and what it holds.

    Attributes:
        pooled: float64 ``(folds, alphas)``, one q-hat for all classes.
        by_class: float64 ``(folds, class_alphas, K)``.
        true: int64 ``(folds, K)``, pixels by true class.
    """

    pooled: np.ndarray[Any, Any]
    by_class: np.ndarray[Any, Any]
    true: np.ndarray[Any, Any]


class Images:
    """The labelled images, each once, to be read more than once."""

    def __init__(
        self, scores: Any, labels: Any, ids: Iterable[Any] | None, ignore: int, groups: Any = None
    ) -> None:
        readable = all(isinstance(value, Iterable) for value in (scores, labels))
        if readable and not rereadable(scores, labels):
            raise InputTypeError(
                "choose reads the images twice, and an iterator can be read once; pass a list, an "
                "array, or a sequence that reads files, as conformal_plugin.files.map_files gives"
            )
        self._scores = scores
        self._labels = labels
        single = isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable)
        self.ids = ids if single else list(ids)  # type: ignore[arg-type]
        whole = isinstance(groups, (str, bytes, Mapping)) or not isinstance(groups, Iterable)
        self.groups = groups if whole else list(groups)
        self.ignore_index = ignore

    def with_scores(self, scores: Any) -> Images:
        """The same images and labels with other scores."""
        return Images(scores, self._labels, self.ids, self.ignore_index, self.groups)

    def __iter__(self) -> Iterator[LabelledScores]:
        items = SeenIds().first_of_each(self._scores, self._labels, self.ids, groups=self.groups)
        for item in items:
            if item.points:
                raise ShapeError(
                    f"alpha is chosen per image, and scores of shape (N, K) are separate points, "
                    f"here {tuple(item.scores.T.shape)}; pass images (K, H, W)"
                )
            yield item


class _Deal:
    """Deals images to folds, one by one, or all of a group to that of its first."""

    def __init__(self, folds: int) -> None:
        self._folds = folds
        self._fold_of_group: dict[str, int] = {}
        self.dealt = 0
        """How many images or groups have been dealt."""

    def fold_of(self, item: LabelledScores) -> int:
        """The fold of the next image."""
        if item.group in self._fold_of_group:
            return self._fold_of_group[item.group]
        fold = self.dealt % self._folds
        self.dealt += 1
        if item.group is not None:
            self._fold_of_group[item.group] = fold
        return fold


def read_thresholds(
    images: Images,
    calibrators: Iterable[ScoreCounter],
    grid_of_ways: Callable[[int], Grid],
    folds: int,
) -> FoldThresholds:
    """Each fold's thresholds, from all others; only as many folds as there are images.

    Only as many folds as there are images, or groups. ``calibrators`` count all images on the way.
    ``grid_of_ways`` is called with K before anything is read.
    """
    fold_scores: FoldScores | None = None
    true_pixels: list[np.ndarray[Any, Any]] = []
    ways: Grid | None = None

    def checked() -> Iterator[LabelledScores]:
        nonlocal ways
        for item in images:
            ways = ways or grid_of_ways(item.scores.shape[0])
            yield item

    def read(item: LabelledScores) -> Any:
        grid = grid_of(item.scores)
        check_ignore_index(images.ignore_index, item.scores.shape[0])
        true = read_true_scores(item, images.ignore_index, grid)
        return grid, true, codes_by_class(true, grid)

    deal = _Deal(folds)
    for item, result in in_parallel(read, checked(), here=elsewhere):
        with item.named(), beside_others():
            grid, true, by_class = result()
            for calibrator in calibrators:
                add_reading(calibrator, item, true)
            if not true.pixels.any():
                continue
            fold = deal.fold_of(item)
            if fold_scores is None:
                fold_scores = FoldScores(grid, folds, len(true.pixels))
            fold_scores.add(fold, true, by_class)
            if fold == len(true_pixels):
                true_pixels.append(np.zeros_like(true.pixels))
            true_pixels[fold] += true.pixels
    if fold_scores is None or ways is None:
        raise EmptyCalibrationError(
            f"no image holds a labelled pixel: every label is {images.ignore_index} or nothing was "
            f"passed; check ignore_index and that the label files are not blank"
        )
    if deal.dealt < 2:
        unit = "image" if images.groups is None else "group"
        raise TooFewImagesError(
            f"choose judges each {unit} by the others, and there is one alone; label more {unit}s"
        )
    used = len(true_pixels)
    return FoldThresholds(
        fold_scores.qhats(ways.alphas)[:used],
        fold_scores.class_qhats(ways.class_alphas, MIN_IMAGES)[:used],
        np.stack(true_pixels),
    )


def read_labels(images: Images, thresholds: FoldThresholds, ways: Grid) -> list[LabelCounts]:
    """What every candidate labels, by fold.

    Raises:
        OptionError: this reading counts others than the first.
    """

    def count(fold: int, item: LabelledScores) -> LabelCounts:
        return count_labels(
            item,
            thresholds.pooled[fold].tolist(),
            thresholds.by_class[fold],
            ways=ways,
            ignore_index=images.ignore_index,
        )

    found = counts_by_fold(images, count, len(thresholds.true))
    if same_pixels(found, thresholds.true):
        return found
    raise OptionError(
        "the second reading found other images than the first: pass data that is the same each "
        "time it is read, without random augmentation"
    )


def counts_by_fold(
    images: Images, count: Callable[[int, LabelledScores], LabelCounts], folds: int
) -> list[LabelCounts]:
    """What ``count`` says of each fold's images; fewer folds where there are fewer images."""
    sums: list[LabelCounts] = []

    def labelled() -> Iterator[tuple[int, LabelledScores]]:
        deal = _Deal(folds)
        for item in images:
            with beside_others():
                used = bool((item.labels != images.ignore_index).any())
            if used:
                yield deal.fold_of(item), item

    counts = in_parallel(
        lambda pair: count(*pair), labelled(), here=lambda pair: elsewhere(pair[1])
    )
    for (fold, item), result in counts:
        with item.named():
            counted = result()
        if fold < len(sums):
            sums[fold] = sums[fold] + counted
        else:
            sums.append(counted)
    return sums


def same_pixels(counts: Sequence[LabelCounts], true: np.ndarray[Any, Any]) -> bool:
    """Whether the last candidate, which drops nothing, has the true pixels of each fold."""
    return len(counts) == len(true) and all(
        np.array_equal(one.confusion[-1].sum(axis=1), pixels) for one, pixels in zip(counts, true)
    )
