"""A model of transformers on its device: from photos to its raw output, and back to their size."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from conformal_plugin.annotators._mixed_precision import mixed_precision
from conformal_plugin.annotators._protocol import Photo

__all__ = ["ModelRun", "readable", "resized"]

_CHANNELS = (1, 3)
"""Lengths of a first axis that processors take for colours, even where the last is 3."""


class ModelRun:
    """A model in evaluation mode on its device, without gradients, in mixed precision if asked."""

    def __init__(self, model: Any, processor: Any, device: str, amp: str | None) -> None:
        self.model = model.eval().to(device)
        self.processor = processor
        self.device = torch.device(device)
        self._dtype = mixed_precision(amp, self.device)

    def __call__(self, **inputs: Any) -> Any:
        """The model's output."""
        with torch.inference_mode(), self.precision():
            return self.model(**inputs)

    def precision(self) -> Any:
        """Mixed precision, or nothing."""
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, self._dtype)

    def prepared(self, photos: Sequence[Photo], **more: Any) -> dict[str, Any]:
        """The processor's tensors on the device."""
        images = [readable(photo) for photo in photos]
        prepared = self.processor(images=images, return_tensors="pt", **more)
        return {
            name: value.to(self.device)
            for name, value in prepared.items()
            if isinstance(value, Tensor)
        }


def readable(photo: Photo) -> Photo:
    """A photo as processors read it rightly: with colours first where it is 1 or 3 pixels high."""
    ambiguous = photo.shape[0] in _CHANNELS
    return np.ascontiguousarray(photo.transpose(2, 0, 1) if ambiguous else photo)


def resized(maps: Tensor, photo: Photo) -> Tensor:
    """Maps at the size of the photo."""
    return interpolate(maps[None], size=photo.shape[:2], mode="bilinear", align_corners=False)[0]
