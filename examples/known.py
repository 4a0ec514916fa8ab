"""What there is to learn from in one cell of the study of beds, and students of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from material import IGNORE
from quick_student import Points, taught, train_quick
from torch import nn

from conformal_plugin import Choice, choose, filter
from conformal_plugin.rehearsing import Loss

__all__ = ["Known", "most_probable", "of_choice"]

Bytes = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.floating]


@dataclass(frozen=True, eq=False)  # told from others by identity, not by gigabytes
class Known:
    """Labelled and unlabelled photos with the annotator's scores, in the form that the cell has.

    Attributes:
        classes: K.
        background: the class that is one, None where none is.
        labelled: photos with their truth.
        scores: the annotator's of the labelled photos, at the points.
        coarse: the same and the truth at every fourth row and column, where ways are chosen.
        unlabelled: the other photos; their truth is the ceiling's alone.
        others: the annotator's scores of these.
        core: the classes of the mIoU.
    """

    classes: int
    background: int | None
    labelled: Points
    scores: Sequence[Scores]
    coarse: tuple[Sequence[Scores], Sequence[Bytes]]
    unlabelled: Points
    others: Sequence[Scores]
    core: Sequence[int]

    @cached_property
    def choice(self) -> Choice:
        """What the labelled photos support."""
        return choose(*self.coarse, background=self.background)

    @cached_property
    def default(self) -> list[Bytes] | None:
        """Its labels of the unlabelled photos."""
        return of_choice(self.choice, self.others)

    def train(self, teacher: Loss | None, seed: int) -> nn.Module:
        """A student of the labelled photos and of what the teacher says of the others."""
        return train_quick(self.classes, self.labelled, self.unlabelled, teacher, seed=seed)

    def train_labels(self, maps: Sequence[Bytes] | None, seed: int) -> nn.Module:
        """A student of the labelled photos and of label maps of the others."""
        return self.train(None if maps is None else taught(maps), seed)


def of_choice(choice: Choice, maps: Sequence[Scores]) -> list[Bytes] | None:
    """The labels that a choice makes of maps; None where it speaks against using them."""
    if not choice.worth_using:
        return None
    if choice.calibration is None:
        return [most_probable(one) for one in maps]
    calibration = choice.calibration
    return [filter(one, calibration) for one in maps]


def most_probable(scores: Scores, least: float = 0.0) -> Bytes:
    """The class of the highest score where that is at least ``least``."""
    return np.where(scores.max(0) >= least, scores.argmax(0), IGNORE).astype(np.uint8)
