"""A model of transformers on its device: from photos to its raw output, and back to their size."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from conformal_plugin.annotators._compiled import compiled
from conformal_plugin.annotators._mixed_precision import mixed_precision
from conformal_plugin.annotators._protocol import Photo

__all__ = ["ModelRun", "readable", "resized"]

_CHANNELS = (1, 3)
"""Lengths of a first axis that processors take for colours, even where the last is 3."""


class ModelRun:
    """A model in evaluation mode on its device, without gradients.

    Args:
        model: of transformers.
        processor: the model's.
        device: where it runs.
        amp: the type of automatic mixed precision, None for none.
        compile_it: whether a call goes through ``torch.compile``.
    """

    def __init__(
        self,
        model: Any,
        processor: Any,
        device: str,
        amp: str | None,
        *,
        compile_it: bool = False,
    ) -> None:
        self.model = model.eval().to(device)
        self.processor = processor
        self.device = torch.device(device)
        self._dtype = mixed_precision(amp, self.device)
        self._call = compiled(self.model, self.device) if compile_it else self.model

    def __call__(self, **inputs: Any) -> Any:
        """The model's output."""
        with torch.inference_mode(), self.precision():
            return self._call(**inputs)

    def precision(self) -> Any:
        """Mixed precision, or nothing."""
        if self._dtype is None:
            return nullcontext()
        return torch.autocast(self.device.type, self._dtype)

    def prepared(self, photo: Photo, **more: Any) -> dict[str, Tensor]:
        """The processor's tensors of one photo, which are not on the device yet."""
        prepared = self.processor(images=[readable(photo)], return_tensors="pt", **more)
        return {name: value for name, value in prepared.items() if isinstance(value, Tensor)}

    def together(
        self, inputs: Sequence[Mapping[str, Tensor]]
    ) -> Iterator[tuple[list[int], dict[str, Tensor]]]:
        """Photos that the processor brought to one size as one input, on the device.

        Nothing is filled up, so that a photo is looked at as it would be alone. Processors that
        bring all photos to one size make one input of photos of any sizes.

        Args:
            inputs: of each photo, as :meth:`prepared` gives them.

        Yields:
            The places of the photos in ``inputs``, and their tensors, one after the other.
        """
        alike: dict[tuple[int, ...], list[int]] = {}
        for place, own in enumerate(inputs):
            alike.setdefault(tuple(own["pixel_values"].shape[1:]), []).append(place)
        for places in alike.values():
            names = inputs[places[0]]
            yield (
                places,
                {n: torch.cat([inputs[i][n] for i in places]).to(self.device) for n in names},
            )

    def of_each(
        self, inputs: Sequence[Mapping[str, Tensor]], *wanted: str
    ) -> list[tuple[Tensor, ...]]:
        """For each photo its rows of the ``wanted`` outputs, see :meth:`together`."""
        found: dict[int, tuple[Tensor, ...]] = {}
        for places, joined in self.together(inputs):
            outputs = self(**joined)
            rows = [len(inputs[place]["pixel_values"]) for place in places]
            parts = (getattr(outputs, name).split(rows) for name in wanted)
            found.update(zip(places, zip(*parts)))
        return [found[place] for place in range(len(inputs))]


def readable(photo: Photo) -> Photo:
    """A photo as processors read it rightly: with colours first where it is 1 or 3 pixels high."""
    ambiguous = photo.shape[0] in _CHANNELS
    return np.ascontiguousarray(photo.transpose(2, 0, 1) if ambiguous else photo)


def resized(maps: Tensor, photo: Photo) -> Tensor:
    """Maps at the size of the photo."""
    return interpolate(maps[None], size=photo.shape[:2], mode="bilinear", align_corners=False)[0]
