"""Grounded-SAM as an annotator: words to boxes by Grounding DINO, boxes to masks by SAM 2."""

from __future__ import annotations

import numbers
import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from conformal_plugin.annotators._background import with_background
from conformal_plugin.annotators._box_masks import BoxMasks
from conformal_plugin.annotators._class_list import ClassList
from conformal_plugin.annotators._grounding import Grounding
from conformal_plugin.annotators._protocol import Photo
from conformal_plugin.annotators._transformers_loading import BOX_SEGMENTER, DETECTOR, load_part
from conformal_plugin.annotators._transformers_run import ModelRun
from conformal_plugin.annotators._weights import weights_digest
from conformal_plugin.errors import OptionError

__all__ = ["GroundedSamAnnotator", "load_grounded_sam"]

_BOX_THRESHOLD = 0.1
_MOST_BOXES = 100
"""Of a photo, the surest; each takes a pass of SAM 2's decoder."""


def load_grounded_sam(
    detector: str | os.PathLike[str],
    segmenter: str | os.PathLike[str],
    *,
    classes: ClassList,
    background: str = "complement",
    device: str = "cpu",
    amp: str | None = None,
    box_threshold: float = _BOX_THRESHOLD,
) -> GroundedSamAnnotator:
    """Load Grounding DINO or MM-Grounding-DINO and SAM 2, from folders or by name.

    A class's score is the largest, over boxes and over its prompts, of the box's share for the
    prompt times the mask's share.

    Args:
        detector: Grounding DINO or MM-Grounding-DINO, as ``from_pretrained`` takes it.
        segmenter: SAM 2 or 2.1, as published (the folder of its video model) or ``Sam2Model``
            alone.
        classes: the classes to look for, with their prompts.
        background: one of :data:`conformal_plugin.annotators.BACKGROUND_RULES`.
        device: where both run.
        amp: ``"float16"`` or ``"bfloat16"`` for automatic mixed precision.
        box_threshold: a box counts for a class where its share exceeds this, in [0, 1). The lower,
            the more is looked at, at most 100 boxes a photo.

    Raises:
        MissingExtraError: transformers is not installed.
        SourceFileError: a model cannot be loaded.
        OptionError: other kinds of models, or classes or a threshold that do not fit.
    """
    classes.asked(background)  # refuses what does not fit before a model is loaded
    return GroundedSamAnnotator(
        load_part(os.fspath(detector), DETECTOR),
        load_part(os.fspath(segmenter), BOX_SEGMENTER),
        classes=classes,
        background=background,
        device=device,
        amp=amp,
        box_threshold=box_threshold,
    )


class GroundedSamAnnotator:
    """Grounding DINO and SAM 2 as one annotator; made by :func:`load_grounded_sam`.

    Args:
        detector: the model that finds boxes, and its processor.
        segmenter: the model that makes masks of boxes, and its processor.
        classes: the classes to look for, with their prompts.
        background: one of :data:`conformal_plugin.annotators.BACKGROUND_RULES`.
        device: where both run.
        amp: ``"float16"`` or ``"bfloat16"`` for automatic mixed precision.
        box_threshold: a box counts for a class where its share exceeds this, in [0, 1).

    Attributes:
        class_names: the K classes.
        background: how background is formed.
        fingerprint: both models with digests of their weights, prompts, background rule, threshold
            and mixed precision.

    Raises:
        OptionError: classes or a threshold that do not fit.
    """

    def __init__(
        self,
        detector: tuple[Any, Any],
        segmenter: tuple[Any, Any],
        *,
        classes: ClassList,
        background: str = "complement",
        device: str = "cpu",
        amp: str | None = None,
        box_threshold: float = _BOX_THRESHOLD,
    ) -> None:
        asked = classes.asked(background)
        self._threshold = _checked(box_threshold)
        self.class_names = classes.class_names
        self.background = background
        self.fingerprint: dict[str, Any] = {
            "annotator": "grounded-sam",
            "detector": type(detector[0]).__name__,
            "detector_weights": weights_digest(detector[0]),
            "segmenter": type(segmenter[0]).__name__,
            "segmenter_weights": weights_digest(segmenter[0]),
            "prompts": dict(zip(asked.class_names, map(list, asked.prompts))),
            "background": background,
            "box_threshold": self._threshold,
            "boxes": _MOST_BOXES,
            "amp": amp,
        }
        self._counts = [len(words) for words in asked.prompts]
        self._find = Grounding(
            ModelRun(*detector, device, amp), [word for words in asked.prompts for word in words]
        )
        self._masks = BoxMasks(ModelRun(*segmenter, device, amp))

    def annotate(self, photos: Sequence[Photo]) -> list[Tensor]:
        """Class scores ``(K, H, W)`` of each photo, float32 on the models' device.

        Each photo goes through the models alone.
        """
        return [with_background(self._of(photo), self.background) for photo in photos]

    @torch.inference_mode()
    def _of(self, photo: Photo) -> Tensor:
        boxes, by_word = self._find(photo)
        parts = torch.split(by_word, self._counts, dim=1)
        shares = torch.stack([part.amax(dim=1) for part in parts], dim=1)
        shares = shares.where(shares > self._threshold, 0)
        order = shares.amax(dim=1).argsort(descending=True, stable=True)[:_MOST_BOXES]
        order = order[shares[order].any(dim=1)]
        scores = shares.new_zeros(len(self._counts), *photo.shape[:2])
        if not len(order):
            return scores
        for mask, row in zip(self._masks(photo, boxes[order]), shares[order]):
            for place in row.nonzero().flatten().tolist():
                scores[place] = torch.maximum(scores[place], row[place] * mask)
        return scores


def _checked(threshold: Any) -> float:
    number = isinstance(threshold, numbers.Real) and not isinstance(threshold, bool)
    if not number or not 0 <= float(threshold) < 1:
        raise OptionError(
            f"box_threshold must be a number from 0 to below 1, got {threshold!r}; with 0.1 a box "
            f"counts for a class where its share exceeds a tenth"
        )
    return float(threshold)
