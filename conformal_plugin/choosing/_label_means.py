"""The mean p-value of the labels of each class, by which their weights are made even."""

from __future__ import annotations

from typing import Any

import numpy as np

from conformal_plugin.scores import to_tensor

__all__ = ["LabelMeans"]


class LabelMeans:
    """Adds up p-values by label.

    Args:
        num_classes: K.
        ignore_index: the true class of pixels to leave out.
    """

    def __init__(self, num_classes: int, ignore_index: int) -> None:
        self._ignore_index = ignore_index
        self._sums = np.zeros(num_classes)
        self._counts = np.zeros(num_classes)

    def add(self, labels: Any, values: Any, truth: Any) -> None:
        """Count the labels of one image, and their p-values; what is no class is left out."""
        arrays = (to_tensor(each, "labels").cpu().numpy() for each in (labels, values, truth))
        given, counted, true = arrays
        kept = (
            (given >= 0)
            & (given < len(self._sums))
            & (true.reshape(given.shape) != self._ignore_index)
        )
        classes = given[kept].astype(np.int64)
        self._counts += np.bincount(classes, minlength=len(self._counts))
        self._sums += np.bincount(classes, counted[kept], minlength=len(self._sums))

    def merge(self, other: LabelMeans) -> None:
        """Add what ``other`` has counted."""
        self._counts += other._counts
        self._sums += other._sums

    def means(self) -> np.ndarray[Any, Any]:
        """Float64 ``(K,)``; one half, as of labels that are all right, where there is none."""
        return np.where(self._counts > 0, self._sums / np.maximum(self._counts, 1), 0.5)
