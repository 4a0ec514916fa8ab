"""For each class the annotator that finds it best, by what each takes for what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from conformal_plugin.combining._combination import Combination
from conformal_plugin.combining._labelled_maps import LabelledMaps, checked, nothing_labelled
from conformal_plugin.combining._parts import in_step
from conformal_plugin.errors import ShapeError

__all__ = ["Confusion", "confusions", "fit_pick", "picked"]

Confusion: TypeAlias = "npt.NDArray[np.int64]"
"""``(A, K, K)``: for each annotator, pixels by true class and by most probable class."""


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
    return picked(confusions(images, ignore_index))


def confusions(
    images: Iterable[LabelledMaps], ignore_index: int
) -> Iterator[tuple[str, Confusion]]:
    """Each image's id and what its annotators take for what; its maps are read once.

    Args:
        images: labelled ones.
        ignore_index: the label of pixels without a class.

    Raises:
        ShapeError: maps or a label that do not fit each other.
        ScoreError: a score is not in [0, 1].
        LabelError: a label that is no class.
    """
    for name, scores, labels in checked(images, ignore_index):
        classes = scores[0].shape[0]
        tables = np.zeros((len(scores), classes, classes), np.int64)
        for rows, arrays in in_step(scores):
            valid = labels[rows] != ignore_index
            true = labels[rows][valid].astype(np.int64) * classes
            for table, array in zip(tables, arrays):
                pairs = true + array.argmax(0)[valid]
                table += np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
        yield name, tables


def picked(counted: Iterable[tuple[str, Confusion]]) -> Combination:
    """For each class the annotator of the higher IoU, see :func:`fit_pick`.

    Args:
        counted: what :func:`confusions` gives.

    Raises:
        EmptyCalibrationError: there is no labelled pixel.
        ShapeError: images with other annotators or classes than the first.
    """
    names: list[str] = []
    total: Confusion | None = None
    for name, tables in counted:
        names.append(name)
        if total is None:
            total = np.zeros_like(tables)
        if total.shape != tables.shape:
            raise ShapeError(
                f"image {name} has {len(tables)} maps of {tables.shape[-1]} classes and the images "
                f"before it {len(total)} of {total.shape[-1]}; fit on maps of the same annotators"
            )
        total += tables
    if total is None or not total.any():
        raise nothing_labelled()
    iou = _iou(total)
    best = int(np.nanmean(iou, axis=1).argmax())
    first = np.concatenate([[best], np.delete(np.arange(len(iou)), best)])
    chosen = first[np.nan_to_num(iou, nan=-1.0)[first].argmax(0)]
    weights = (np.arange(len(iou))[:, None] == chosen).astype(float)
    return Combination(
        "pick", tuple(map(tuple, weights.tolist())), (0.0,) * iou.shape[1], tuple(names)
    )


def _iou(confusion: Confusion) -> npt.NDArray[np.float64]:
    """For each annotator and class; NaN where no pixel has the class."""
    right = np.diagonal(confusion, axis1=1, axis2=2)
    true = confusion.sum(2)
    union = true + confusion.sum(1) - right
    return np.where(true > 0, right / np.maximum(union, 1), np.nan)
