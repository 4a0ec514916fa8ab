"""SAM 2: a mask for each box."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from conformal_plugin.annotators._protocol import Photo
from conformal_plugin.annotators._transformers_run import ModelRun, readable, resized

__all__ = ["BoxMasks"]

_TOGETHER = 16
"""Boxes that go through the decoder together; at the photo's size a mask takes 4 bytes a pixel."""


class BoxMasks:
    """A SAM 2 that looks at a photo once, and then at each of its boxes.

    Args:
        run: the model with its processor.
    """

    def __init__(self, run: ModelRun) -> None:
        self._run = run

    def __call__(self, photo: Photo, boxes: Tensor) -> Iterator[Tensor]:
        """For each box how sure each pixel is of lying in its object, ``(H, W)`` in [0, 1].

        Args:
            photo: as an annotator gets it.
            boxes: ``(boxes, 4)``, left, top, right and bottom in pixels.
        """
        run = self._run
        prepared = run.processor(
            images=[readable(photo)],
            input_boxes=[boxes.cpu().tolist()],
            return_tensors="pt",
        )
        with torch.inference_mode(), run.precision():
            seen = run.model.get_image_embeddings(prepared["pixel_values"].to(run.device))
        for some in prepared["input_boxes"].to(run.device).split(_TOGETHER, dim=1):
            # One mask a box: which of several parts is meant is a question of points.
            outputs = run(image_embeddings=seen, input_boxes=some, multimask_output=False)
            yield from resized(outputs.pred_masks[0, :, 0].float(), photo).sigmoid()
