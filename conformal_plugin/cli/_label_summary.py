"""What a set of label maps holds: the kept share, and each class's share of the pixels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["LabelSummary", "label_counts"]


def label_counts(labels: np.ndarray[Any, Any]) -> dict[int, int]:
    """The pixels of each label that occurs in a label map."""
    values, counts = np.unique(labels, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist()))


class LabelSummary:
    """Counts labels as they go by.

    Args:
        ignore_index: the label of dropped pixels.
    """

    def __init__(self, ignore_index: int) -> None:
        self._ignore_index = ignore_index
        self._pixels = 0
        self._counts: dict[int, int] = {}
        self._images = 0
        self._empty = 0

    def add(self, counts: Mapping[int, int]) -> None:
        """Count one label map, of which :func:`label_counts` tells the pixels of each label."""
        kept = {value: count for value, count in counts.items() if value != self._ignore_index}
        for value, count in kept.items():
            self._counts[value] = self._counts.get(value, 0) + count
        self._pixels += sum(counts.values())
        self._images += 1
        self._empty += not kept

    def merge(self, other: LabelSummary) -> None:
        """Add what ``other`` has counted."""
        for value, count in other._counts.items():
            self._counts[value] = self._counts.get(value, 0) + count
        self._pixels += other._pixels
        self._images += other._images
        self._empty += other._empty

    def content(self) -> dict[str, Any]:
        """Plain numbers; ``share_per_class`` has the classes that occur, by index."""
        return {
            "images": self._images,
            "images_without_label": self._empty,
            "kept": sum(self._counts.values()) / self._pixels,
            "share_per_class": {c: n / self._pixels for c, n in sorted(self._counts.items())},
        }
