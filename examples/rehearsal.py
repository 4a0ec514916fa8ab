"""What labels add, on labelled photos that the students have not seen: a rehearsal of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from known import Known
from quick_student import Points, confusion_of
from torch import nn
from training import mean_iou

__all__ = ["FOLDS", "gain_of", "left_out", "one_of", "without_fold"]

FOLDS = 5

Bytes = npt.NDArray[np.uint8]


def left_out(known: Known, maps: Sequence[Bytes] | None) -> list[nn.Module]:
    """For each labelled photo a student that has not seen it; five students in all."""
    students = []
    for fold in range(FOLDS):
        mine = replace(known, labelled=without_fold(known.labelled, fold))
        students.append(mine.train_labels(maps, seed=0))
    return [students[i % FOLDS] for i in range(len(known.labelled.truth))]


def gain_of(known: Known, maps: Sequence[Bytes] | None) -> tuple[float, float]:
    """mIoU with the labels less mIoU without, and its standard error, a jackknife over photos.

    Five trainings with the labels of the unlabelled photos and five without, each on four fifths of
    the labelled photos, measured on the other fifth.
    """
    with_them, alone = (_counts(known, some) for some in (maps, None))

    def difference(kept: npt.NDArray[np.bool_]) -> float:
        return mean_iou(with_them[kept].sum(0), known.core) - mean_iou(
            alone[kept].sum(0), known.core
        )

    photos = np.arange(len(alone))
    without = np.array([difference(photos != i) for i in photos])
    spread = ((without - without.mean()) ** 2).sum()
    return difference(photos >= 0), float(np.sqrt((len(photos) - 1) / len(photos) * spread))


def one_of(points: Points, photo: int) -> Points:
    """The points of one photo."""
    return Points(points.features[photo : photo + 1], points.truth[photo : photo + 1])


def without_fold(points: Points, fold: int) -> Points:
    """The points of all photos but every fifth."""
    mine = [i for i in range(len(points.truth)) if i % FOLDS != fold]
    return Points([points.features[i] for i in mine], [points.truth[i] for i in mine])


def _counts(known: Known, maps: Sequence[Bytes] | None) -> npt.NDArray[np.int64]:
    """Confusions ``(photos, K, K)`` of labelled photos, each by a student that has not seen it."""
    students = left_out(known, maps)
    one_by_one = enumerate(students)
    return np.stack(
        [confusion_of(s, one_of(known.labelled, i), known.classes) for i, s in one_by_one]
    )
