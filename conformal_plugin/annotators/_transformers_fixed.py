"""Models of transformers with classes of their own, which are matched to the wanted ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from conformal_plugin.annotators._class_mapping import ClassMapping
from conformal_plugin.annotators._class_shares import class_shares
from conformal_plugin.annotators._protocol import Photo
from conformal_plugin.annotators._transformers_run import ModelRun, readable, resized

__all__ = ["Dense", "Eomt", "Universal"]


class Universal:
    """Models that give queries, each with class logits and a mask."""

    def __init__(self, run: ModelRun, mapping: ClassMapping) -> None:
        self._run = run
        self._columns = [torch.tensor(m, dtype=torch.long) for m in mapping.members]
        # OneFormer is told its task in words.
        self._more = (
            {"task_inputs": ["semantic"]} if run.model.config.model_type == "oneformer" else {}
        )

    def scores(self, photos: Sequence[Photo]) -> list[Tensor]:
        """Class scores of each photo."""
        known = ("pixel_values", "pixel_mask", "task_inputs")
        inputs = []
        for photo in photos:
            prepared = self._run.prepared(photo, **self._more)
            inputs.append({name: prepared[name] for name in known if name in prepared})
        outputs = self._run.of_each(inputs, "class_queries_logits", "masks_queries_logits")
        return [
            self._of(photo, logits[0], masks[0], own.get("pixel_mask"))
            for photo, own, (logits, masks) in zip(photos, inputs, outputs)
        ]

    def _of(self, photo: Photo, logits: Tensor, masks: Tensor, valid: Tensor | None) -> Tensor:
        # The last column is "no object".
        queries = logits.float().softmax(dim=-1)[:, :-1]
        columns = torch.stack([queries[:, c].sum(dim=1) for c in self._columns])
        masks = masks.float()
        if valid is not None:
            masks = _unpadded(masks, valid[0])
        return torch.einsum("kq,qhw->khw", columns, resized(masks, photo).sigmoid())


class Eomt:
    """EoMT: queries, of a photo that its processor filled up, or of the parts that it was cut to.

    The processor's own functions put the parts together and take the filling off. Its semantic
    post-processing does the first alone, so that scores of a filled-up photo would lie beside it.
    """

    def __init__(self, run: ModelRun, mapping: ClassMapping) -> None:
        self._run = run
        self._columns = [torch.tensor(m, dtype=torch.long) for m in mapping.members]

    def scores(self, photos: Sequence[Photo]) -> list[Tensor]:
        """Class scores of each photo, all of its parts together through the model."""
        prepared = [
            self._run.processor(images=[readable(photo)], return_tensors="pt") for photo in photos
        ]
        inputs = [{"pixel_values": own["pixel_values"]} for own in prepared]
        outputs = self._run.of_each(inputs, "class_queries_logits", "masks_queries_logits")
        return [self._of(photo, own, *out) for photo, own, out in zip(photos, prepared, outputs)]

    def _of(
        self, photo: Photo, prepared: Mapping[str, Any], logits: Tensor, masks: Tensor
    ) -> Tensor:
        processor = self._run.processor
        # The last column is "no object".
        queries = logits.float().softmax(dim=-1)[..., :-1]
        columns = torch.stack([queries[..., c].sum(dim=-1) for c in self._columns], dim=1)
        masks = interpolate(
            masks.float(),
            size=prepared["pixel_values"].shape[-2:],
            mode="bilinear",
            align_corners=False,
        )
        size, sizes = processor.size, [photo.shape[:2]]
        parts = prepared.get("patch_offsets")
        if parts:
            sums = torch.einsum("pkq,pqhw->pkhw", columns, masks.sigmoid())
            whole: Tensor = processor.merge_image_patches(sums, parts, sizes, size)[0]
            return whole
        if processor.do_pad:
            masks = processor.unpad_image(masks, sizes, size)[0]
        else:
            masks = resized(masks[0], photo)
        return torch.einsum("kq,qhw->khw", columns[0], masks.sigmoid())


class Dense:
    """Models that give class logits for every place of a coarse grid."""

    def __init__(self, run: ModelRun, mapping: ClassMapping) -> None:
        self._run = run
        self._members = mapping.members

    def scores(self, photos: Sequence[Photo]) -> list[Tensor]:
        """Class scores of each photo."""
        inputs = [{"pixel_values": self._run.prepared(photo)["pixel_values"]} for photo in photos]
        return [
            class_shares(logits[0].float(), self._members, photo.shape[:2])
            for photo, (logits,) in zip(photos, self._run.of_each(inputs, "logits"))
        ]


def _unpadded(masks: Tensor, valid: Tensor) -> Tensor:
    """Cut off what the processor added on the right and below to fill a batch or a multiple."""
    height, width = int(valid.any(dim=1).sum()), int(valid.any(dim=0).sum())
    if (height, width) == tuple(valid.shape):
        return masks
    full = interpolate(masks[None], size=valid.shape, mode="bilinear", align_corners=False)[0]
    return full[:, :height, :width]
