"""Reads the labelled images twice, fold by fold: for thresholds, then for the labels at these."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from conformal_plugin.calibration import Calibrator
from conformal_plugin.choosing._fold_thresholds import FoldScores
from conformal_plugin.choosing._label_counts import count_labels
from conformal_plugin.errors import (
    EmptyCalibrationError,
    InputTypeError,
    OptionError,
    ShapeError,
    TooFewImagesError,
)
from conformal_plugin.processes import in_parallel
from conformal_plugin.scores import (
    LabelledScores,
    SeenIds,
    check_ignore_index,
    elsewhere,
    grid_of,
    read_true_scores,
    rereadable,
)

__all__ = ["Images", "read_labels", "read_thresholds"]


class Images:
    """The labelled images, each once, to be read more than once."""

    def __init__(self, scores: Any, labels: Any, ids: Iterable[Any] | None, ignore: int) -> None:
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
        self.ignore_index = ignore

    def __iter__(self) -> Iterator[LabelledScores]:
        for item in SeenIds().first_of_each(self._scores, self._labels, self.ids):
            if item.points:
                raise ShapeError(
                    f"alpha is chosen per image, and scores of shape (N, K) are separate points, "
                    f"here {tuple(item.scores.T.shape)}; pass images (K, H, W)"
                )
            yield item


def read_thresholds(
    images: Images,
    calibrator: Calibrator,
    alphas: Sequence[float],
    folds: int,
    check: Callable[[int], None],
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """q-hat for each fold ``(folds, alphas)`` and its pixels by true class ``(folds, K)``.

    Only as many folds as there are images. ``calibrator`` counts all images on the way. ``check``
    is called with K before anything is read.
    """
    fold_scores: FoldScores | None = None
    true_pixels: list[np.ndarray[Any, Any]] = []

    def checked() -> Iterator[LabelledScores]:
        for item in images:
            check(item.scores.shape[0])
            yield item

    def read(item: LabelledScores) -> Any:
        grid = grid_of(item.scores)
        check_ignore_index(images.ignore_index, item.scores.shape[0])
        return grid, read_true_scores(item, images.ignore_index, grid)

    counted = 0
    for item, result in in_parallel(read, checked(), here=elsewhere):
        with item.named():
            grid, true = result()
            calibrator.update(*item.arrays)
        if not true.pixels.any():
            continue
        fold = counted % folds
        if fold_scores is None:
            fold_scores = FoldScores(grid, folds)
        fold_scores.add(fold, true)
        if counted < folds:
            true_pixels.append(np.zeros_like(true.pixels))
        true_pixels[fold] += true.pixels
        counted += 1
    if fold_scores is None:
        raise EmptyCalibrationError(
            f"no image holds a labelled pixel: every label is {images.ignore_index} or nothing was "
            f"passed; check ignore_index and that the label files are not blank"
        )
    if counted < 2:
        raise TooFewImagesError(
            "choose judges each image by the others, and there is one alone; label more images"
        )
    return fold_scores.qhats(alphas)[: len(true_pixels)], np.stack(true_pixels)


def read_labels(
    images: Images,
    qhats: np.ndarray[Any, Any],
    true: np.ndarray[Any, Any],
    options: dict[str, Any],
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Labels and right ones of every candidate by fold, ``(folds, candidates, K)`` each.

    ``true`` is what the first reading counted, pixels by fold and true class ``(folds, K)``.

    Raises:
        OptionError: this reading counts others.
    """
    folds = len(qhats)
    sums: list[list[np.ndarray[Any, Any]]] = []

    def labelled() -> Iterator[tuple[int, LabelledScores]]:
        counted = 0
        for item in images:
            if bool((item.labels != images.ignore_index).any()):
                yield counted % folds, item
                counted += 1

    def count(pair: tuple[int, LabelledScores]) -> Any:
        fold, item = pair
        return count_labels(item, qhats[fold].tolist(), **options)

    counts = in_parallel(count, labelled(), here=lambda pair: elsewhere(pair[1]))
    for (fold, item), result in counts:
        with item.named():
            both = list(result())
        if fold < len(sums):
            sums[fold] = [total + part for total, part in zip(sums[fold], both)]
        else:
            sums.append(both)
    if len(sums) == folds:
        labels, right = (np.stack(parts) for parts in zip(*sums))
        if np.array_equal(labels[:, -1].sum(axis=1), true.sum(axis=1)):  # argmax drops nothing
            return labels, right
    raise OptionError(
        "the second reading found other images than the first: pass data that is the same each "
        "time it is read, without random augmentation"
    )
