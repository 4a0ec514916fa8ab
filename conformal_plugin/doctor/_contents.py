"""What label maps hold, read once for all checks: their sizes, and how often each value occurs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from conformal_plugin.errors import ConformalError
from conformal_plugin.files import image_size

__all__ = ["Contents", "SeenLabel", "read_map"]

Size = tuple[int, int]


@dataclass(frozen=True)
class SeenLabel:
    """A label map that was looked at.

    Attributes:
        name: what to call it.
        size: ``(H, W)``; None where it could not be read.
        photo_size: that of its photo; None where that could not be read.
        counts: pixels by value.
        problem: why it, or its photo, could not be read; empty where both could.
    """

    name: str
    size: Size | None = None
    photo_size: Size | None = None
    counts: Mapping[int, int] = field(default_factory=dict)
    problem: str = ""


@dataclass(frozen=True)
class Contents:
    """The label maps of a list, or of a sample of it.

    Attributes:
        maps: those that were looked at.
        photos: how many different photos the list has.
    """

    maps: Sequence[SeenLabel]
    photos: int

    @property
    def share(self) -> str:
        """How much of the list this is, for a message."""
        read = len(self.maps)
        return f"all {read}" if read == self.photos else f"{read} of {self.photos}"

    def counts(self) -> Counter[int]:
        """Pixels by value, over all maps."""
        total: Counter[int] = Counter()
        for one in self.maps:
            total.update(one.counts)
        return total


def read_map(name: str, photo: Path, read: Callable[[], Any]) -> SeenLabel:
    """Look at one label map and at the size of its photo."""
    try:
        labels = read()
        values, counts = np.unique(labels, return_counts=True)
        size = (labels.shape[0], labels.shape[1])
        by_value = dict(zip(values.tolist(), counts.tolist()))
        return SeenLabel(name, size, image_size(photo), by_value)
    except ConformalError as problem:
        return SeenLabel(name, problem=str(problem))
