"""The labelled images that a combination is fitted on, checked as they come."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from conformal_plugin.errors import EmptyCalibrationError, LabelError, ShapeError
from conformal_plugin.files import ScoreMap
from conformal_plugin.scores import ScoreParts

__all__ = ["LabelledMaps", "Labels", "Maps", "checked", "nothing_labelled"]

Maps: TypeAlias = "Sequence[ScoreMap | ScoreParts]"
"""Of one image, a map from each annotator."""
LabelledMaps: TypeAlias = "tuple[str, Maps, Any]"
"""An image's id, its map from each annotator, and its true classes ``(H, W)``; of volumes with a
depth before the height."""
Labels: TypeAlias = "npt.NDArray[np.integer[Any]]"


def checked(
    images: Iterable[LabelledMaps], ignore_index: int
) -> Iterator[tuple[str, Maps, Labels]]:
    """The images, with labels that are classes of the maps or ``ignore_index``.

    Raises:
        ShapeError: a label of another size than its maps.
        LabelError: a label that is no class.
    """
    for name, scores, truth in images:
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
        yield name, scores, labels


def nothing_labelled() -> EmptyCalibrationError:
    """The error where there is nothing to fit on."""
    return EmptyCalibrationError(
        "the images to fit a combination on have no labelled pixel; name some that do"
    )
