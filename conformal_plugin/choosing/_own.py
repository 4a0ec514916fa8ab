"""What a model of the user's own labels on images that it has not seen."""

from __future__ import annotations

from typing import Any

import numpy as np

from conformal_plugin.choosing._label_counts import LabelCounts, count_labels
from conformal_plugin.choosing._readings import Images, counts_by_fold, same_pixels
from conformal_plugin.choosing._ways import Grid
from conformal_plugin.errors import OptionError, ShapeError
from conformal_plugin.scores import LabelledScores

__all__ = ["count_own"]

_NO_WAYS = Grid((), (), (), ())  # but argmax


def count_own(images: Images, own: Any, true: np.ndarray[Any, Any]) -> list[LabelCounts]:
    """The most probable class of every pixel, by fold.

    Args:
        images: the labelled images.
        own: class scores in step with them.
        true: int64 ``(folds, K)``, the images' pixels by fold and true class.

    Raises:
        ShapeError: scores of another number of classes.
        OptionError: scores of other images, or too few of them.
    """
    num_classes = true.shape[1]

    def count(fold: int, item: LabelledScores) -> LabelCounts:
        if len(item.scores) != num_classes:
            raise ShapeError(
                f"own scores must have the annotator's {num_classes} classes, got "
                f"{len(item.scores)}; train your model on the same class list"
            )
        return count_labels(item, (), ways=_NO_WAYS, ignore_index=images.ignore_index)

    found = counts_by_fold(images.with_scores(own), count, len(true))
    if not same_pixels(found, true):
        raise OptionError(
            "own scores must be of the same images as the annotator's, in the same order; pass one "
            "map for each"
        )
    return found
