"""What one ablation runs on: photos, masks, annotator scores, class names and colours."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["IGNORE", "Annotation", "Material", "Split"]

IGNORE = 255

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Split:
    """Photos ``(3, H, W)`` and true label maps ``(H, W)``, uint8, one size per image."""

    photos: Sequence[Bytes]
    truth: Sequence[Bytes]

    def __len__(self) -> int:
        return len(self.photos)


@dataclass(frozen=True)
class Annotation:
    """The annotator's scores ``(K, H, W)`` image by image; both can be read again and again.

    ``labelled_ids`` name the labelled images; None where they have no names.
    """

    labelled: Iterable[npt.NDArray[np.floating]]
    unlabelled: Iterable[npt.NDArray[np.floating]]
    labelled_ids: Sequence[str] | None = None


@dataclass(frozen=True)
class Material:
    """Three splits, the scores in every form asked for, and how to name and paint the classes."""

    name: str
    classes: tuple[str, ...]
    palette: Bytes  # (K, 3)
    core: tuple[int, ...]  # classes common enough for a mean of their own; all of them if small
    labelled: Split
    unlabelled: Split
    test: Split
    annotations: Mapping[str, Annotation]

    def digest(self) -> str:
        """A short fingerprint of every photo and mask, so that results are never mixed up."""
        state = hashlib.sha256(repr(self.classes).encode())
        for split in (self.labelled, self.unlabelled, self.test):
            for array in (*split.photos, *split.truth):
                state.update(repr(array.shape).encode())
                state.update(np.ascontiguousarray(array).data)
        return state.hexdigest()[:12]
