"""Models of transformers with classes of their own, which are matched to the wanted ones."""

from __future__ import annotations

from collections.abc import Sequence

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
        """Class scores of photos of one size."""
        more = {name: value * len(photos) for name, value in self._more.items()}
        inputs = self._run.prepared(photos, **more)
        valid = inputs.get("pixel_mask")
        known = ("pixel_values", "pixel_mask", "task_inputs")
        outputs = self._run(**{name: inputs[name] for name in known if name in inputs})
        maps = []
        for i, photo in enumerate(photos):
            # The last column is "no object".
            queries = outputs.class_queries_logits[i].float().softmax(dim=-1)[:, :-1]
            columns = torch.stack([queries[:, c].sum(dim=1) for c in self._columns])
            masks = outputs.masks_queries_logits[i].float()
            if valid is not None:
                masks = _unpadded(masks, valid[i])
            masks = resized(masks, photo).sigmoid()
            maps.append(torch.einsum("kq,qhw->khw", columns, masks))
        return maps


class Eomt:
    """EoMT: queries, of a photo that its processor filled up, or of the parts that it was cut to.

    The processor's own functions put the parts together and take the filling off. Its semantic
    post-processing does the first alone, so that scores of a filled-up photo would lie beside it.
    """

    def __init__(self, run: ModelRun, mapping: ClassMapping) -> None:
        self._run = run
        self._columns = [torch.tensor(m, dtype=torch.long) for m in mapping.members]

    def scores(self, photos: Sequence[Photo]) -> list[Tensor]:
        """Class scores of each photo, its parts together through the model."""
        return [self._of(photo) for photo in photos]

    def _of(self, photo: Photo) -> Tensor:
        processor = self._run.processor
        prepared = processor(images=[readable(photo)], return_tensors="pt")
        pixels = prepared["pixel_values"].to(self._run.device)
        outputs = self._run(pixel_values=pixels)
        # The last column is "no object".
        queries = outputs.class_queries_logits.float().softmax(dim=-1)[..., :-1]
        columns = torch.stack([queries[..., c].sum(dim=-1) for c in self._columns], dim=1)
        masks = interpolate(
            outputs.masks_queries_logits.float(),
            size=pixels.shape[-2:],
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
        """Class scores of photos of one size."""
        inputs = self._run.prepared(photos)
        outputs = self._run(pixel_values=inputs["pixel_values"])
        return [
            class_shares(logits.float(), self._members, photo.shape[:2])
            for logits, photo in zip(outputs.logits, photos)
        ]


def _unpadded(masks: Tensor, valid: Tensor) -> Tensor:
    """Cut off what the processor added on the right and below to fill a batch or a multiple."""
    height, width = int(valid.any(dim=1).sum()), int(valid.any(dim=0).sum())
    if (height, width) == tuple(valid.shape):
        return masks
    full = interpolate(masks[None], size=valid.shape, mode="bilinear", align_corners=False)[0]
    return full[:, :height, :width]
