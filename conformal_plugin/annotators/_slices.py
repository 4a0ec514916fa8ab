"""Volumes through an annotator of photos, slice by slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conformal_plugin.annotators._protocol import Annotator, Photo, check_maps
from conformal_plugin.files import rounded

__all__ = ["SliceAnnotator"]


class SliceAnnotator:
    """Gives volumes the scores that another annotator gives their slices.

    Args:
        annotator: of photos.
        batch_size: how many slices go through it together.
        precision: that of the store, to which scores are rounded slice by slice.

    Attributes:
        class_names, background, fingerprint: the annotator's own.
    """

    def __init__(self, annotator: Annotator, batch_size: int, precision: int) -> None:
        self._annotator = annotator
        self._batch_size = batch_size
        self._precision = precision

    @property
    def class_names(self) -> tuple[str, ...]:
        """The K classes, in the order of the channels."""
        return self._annotator.class_names

    @property
    def background(self) -> str:
        """How background is formed."""
        return self._annotator.background

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """All that the scores depend on."""
        return self._annotator.fingerprint

    def annotate(self, photos: Sequence[Photo]) -> list[Any]:
        """Class scores ``(K, D, H, W)`` of volumes ``(D, H, W, 3)``; photos are photos."""
        return [
            self._of_volume(photo) if photo.ndim == 4 else self._annotator.annotate([photo])[0]
            for photo in photos
        ]

    def _of_volume(self, volume: Photo) -> np.ndarray[Any, Any]:
        scores = np.empty((len(self.class_names), *volume.shape[:-1]), np.float16)
        for first in range(0, len(volume), self._batch_size):
            slices = [np.ascontiguousarray(p) for p in volume[first : first + self._batch_size]]
            maps = self._annotator.annotate(slices)
            check_maps(self._annotator, slices, maps)
            for number, one in enumerate(maps, first):
                scores[:, number] = rounded(one, self._precision)
        return scores
