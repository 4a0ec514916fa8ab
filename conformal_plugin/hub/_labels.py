"""Labels that a calibration made, on their way into a shared folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from conformal_plugin.files import read_label

__all__ = ["LabelSet", "LabelTally"]


@dataclass(frozen=True)
class LabelSet:
    """Label files to be shared beside the calibration that made them.

    Attributes:
        files: by what each is to be called below ``labels/``.
        dropped: what pixels without a label hold.
        classes: whether the other values are class indices.
        remarks: what was odd about the labels when they were made.
        beside: files that go along and are no labels, likewise by their names.
    """

    files: Mapping[str, Path]
    dropped: int
    classes: bool = True
    remarks: Sequence[str] = ()
    beside: Mapping[str, Path] = field(default_factory=dict)


@dataclass
class LabelTally:
    """What label files hold together.

    Attributes:
        dropped: the value of pixels without a label.
        files: how many were counted.
        bare: those of them without any label.
        pixels: of each value.
    """

    dropped: int
    files: int = 0
    bare: int = 0
    pixels: Counter[int] = field(default_factory=Counter)

    @property
    def kept(self) -> float:
        """The share of pixels with a label."""
        total = self.pixels.total()
        return 1 - self.pixels[self.dropped] / total if total else 0.0

    def share(self, value: int) -> float:
        """Of all labels, the share that holds this value."""
        labels = self.pixels.total() - self.pixels[self.dropped]
        return self.pixels[value] / labels if labels else 0.0

    def add(self, path: Path) -> None:
        """Count a file.

        Raises:
            SourceFileError: damaged, or no label.
        """
        values, counts = np.unique(read_label(path), return_counts=True)
        self.files += 1
        self.bare += values.tolist() == [self.dropped]
        self.pixels.update(dict(zip(values.tolist(), counts.tolist())))
