"""Filtering maps one by one, and what to say of those that nothing can be learnt from."""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np

from conformal_plugin.cli._report import warn
from conformal_plugin.errors import UninformativeThresholdError
from conformal_plugin.files import ScoreMap
from conformal_plugin.labelling import filter as filter_masks, label_dtype, raw_labels, thin
from conformal_plugin.scores import ScoreParts

__all__ = ["Labeller"]


class Labeller:
    """Makes the pseudo-label of each map; an image whose sets all hold every class keeps nothing.

    Args:
        qhat: as for :func:`conformal_plugin.filter`, and so are the others; None for the
            annotator's raw labels.
        rule: how a label is picked from a prediction set.
        background: the background class.
        ignore_index: the label of dropped pixels.
        thinned: whether labels stay at random, by their weights; drawn by the image's name.
    """

    def __init__(
        self,
        qhat: Any,
        *,
        rule: str | None,
        background: int | None,
        ignore_index: int,
        thinned: bool = False,
    ) -> None:
        self._qhat = qhat
        self._thinned = thinned
        self._rule = rule
        self._background = background
        self._ignore_index = ignore_index
        self._unsure: list[str] = []

    def labels(self, name: str, scores: ScoreMap | ScoreParts) -> np.ndarray[Any, Any]:
        """The label map ``(H, W)`` of the image called ``name``, or ``(D, H, W)`` of a volume.

        Args:
            name: the image's id.
            scores: ``(K, H, W)``, or a batch of one volume ``(1, K, D, H, W)``; or what reads one
                image or volume part by part.
        """
        if self._qhat is None:
            return self._raw(scores)
        try:
            labels = filter_masks(
                scores,
                self._qhat,
                rule=self._rule,
                background=self._background,
                ignore_index=self._ignore_index,
            )
        except UninformativeThresholdError:  # of this one image: nothing can be learnt from it
            self._unsure.append(name)
            num_classes, *size = scores.shape[1:] if scores.ndim == 5 else scores.shape
            dtype = str(label_dtype(num_classes, self._ignore_index)).removeprefix("torch.")
            return np.full(size, self._ignore_index, dtype=dtype)
        if self._thinned:
            seed, ignored = zlib.crc32(name.encode()), self._ignore_index
            labels = thin(labels, scores, self._qhat, seed=seed, ignore_index=ignored)
        return np.asarray(labels[0] if scores.ndim == 5 else labels)

    def _raw(self, scores: ScoreMap | ScoreParts) -> np.ndarray[Any, Any]:
        """The most probable classes; the slices of a volume lie below each other meanwhile."""
        if isinstance(scores, ScoreParts):
            return np.concatenate([self._raw(part) for _, part in scores.placed()])
        if scores.ndim != 5:
            return np.asarray(raw_labels(scores, ignore_index=self._ignore_index))
        classes, *sides = scores.shape[1:]
        below = scores.reshape(classes, -1, sides[-1])
        return np.asarray(raw_labels(below, ignore_index=self._ignore_index)).reshape(sides)

    def merge(self, other: Labeller) -> None:
        """Speak for the images of ``other`` too."""
        self._unsure += other._unsure

    def report(self, images: int) -> None:
        """Say which images hold every class in every set; refuse when that is all of them.

        Args:
            images: how many there are, with those that an earlier run labelled.

        Raises:
            UninformativeThresholdError: no image has a pixel with a class outside its set.
        """
        unsure = self._unsure
        if not unsure:
            return
        if len(unsure) == images:
            raise UninformativeThresholdError(
                f"every class is in the prediction set of every pixel of all {images} images, so "
                f"no label says anything; calibrate with a larger alpha or more labelled images"
            )
        shown = ", ".join(unsure[:3]) + (", ..." if len(unsure) > 3 else "")
        warn(
            f"{len(unsure)} of {images} images have every class in the set of every pixel and were "
            f"dropped whole: {shown}"
        )
