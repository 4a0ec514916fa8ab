"""Class scores of a photo by the models' own classes and processors, without the drivers."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from double_precision import in_double
from PIL import Image

WORDS = ("cat", "dog", "ox")
Scores = Callable[[np.ndarray], torch.Tensor]


def universal(folder: Path) -> Scores:
    """Mask2Former and its kind: sums over queries, limited to 1."""
    scores = post_processed(folder, "AutoModelForUniversalSegmentation")
    return lambda photo: scores(photo).clamp(0, 1)


def dense(folder: Path) -> Scores:
    """SegFormer and its kind: the softmax of what the processor brings to the photo's size."""
    logits = post_processed(folder, "AutoModelForSemanticSegmentation")
    return lambda photo: logits(photo).softmax(0)


def post_processed(folder: Path, auto: str) -> Scores:
    """Class scores by the processor's own function for semantic segmentation."""
    import transformers

    model = in_double(getattr(transformers, auto).from_pretrained(folder).eval())
    processor = transformers.AutoProcessor.from_pretrained(folder)
    oneformer = model.config.model_type == "oneformer"
    more = {"task_inputs": ["semantic"]} if oneformer else {}

    def scores(photo: np.ndarray) -> torch.Tensor:
        inputs = processor(images=[colours_first(photo)], return_tensors="pt", **more)
        offsets = inputs.pop("patch_offsets", None)
        outputs = model(**inputs)
        if offsets is not None:
            outputs.patch_offsets = offsets
        (own,) = processor.post_process_semantic_segmentation(
            outputs, target_sizes=[photo.shape[:2]], return_segmentation_scores=True
        )
        return own["segmentation_scores"]

    return scores


def clipseg(folder: Path) -> Scores:
    """CLIPSeg as its own interface wants it: the photo once a prompt."""
    import transformers

    model = in_double(transformers.CLIPSegForImageSegmentation.from_pretrained(folder).eval())
    processor = transformers.AutoProcessor.from_pretrained(folder)

    def scores(photo: np.ndarray) -> torch.Tensor:
        more = {"padding": "max_length", "max_length": 77}
        inputs = processor(
            text=list(WORDS),
            images=[colours_first(photo)] * len(WORDS),
            return_tensors="pt",
            **more,
        )
        return at_size(model(**inputs).logits.sigmoid(), photo)

    return scores


def sam3(folder: Path) -> Scores:
    """SAM 3's instances: scores by its processor, masks as that resizes them."""
    import transformers

    lite = json.loads((folder / "config.json").read_text())["model_type"] == "sam3_lite_text"
    kind = transformers.Sam3LiteTextModel if lite else transformers.Sam3Model
    model = in_double(kind.from_pretrained(folder).eval())
    processor = transformers.Sam3Processor.from_pretrained(folder)

    def scores(photo: np.ndarray) -> torch.Tensor:
        maps = []
        for word in WORDS:
            outputs = model(
                **processor(images=[colours_first(photo)], text=[word], return_tensors="pt")
            )
            (found,) = processor.post_process_instance_segmentation(
                outputs, threshold=-1.0, target_sizes=[photo.shape[:2]]
            )
            masks = at_size(outputs.pred_masks[0].sigmoid(), photo)
            maps.append((found["scores"][:, None, None] * masks).amax(0))
        return torch.stack(maps)

    return scores


def grounded(detector: Path, segmenter: Path) -> Scores:
    """Boxes and masks by the processors of Grounding DINO and SAM 2, all words in one text."""
    import transformers
    from transformers.models.grounding_dino.modeling_grounding_dino import build_label_maps

    detect = transformers.AutoModelForZeroShotObjectDetection
    find = in_double(detect.from_pretrained(detector).eval())
    words = transformers.AutoProcessor.from_pretrained(detector)
    segment = in_double(transformers.Sam2Model.from_pretrained(segmenter).eval())
    boxes_to_masks = transformers.Sam2Processor.from_pretrained(segmenter)

    def scores(photo: np.ndarray) -> torch.Tensor:
        size = photo.shape[:2]
        asked = words(images=[colours_first(photo)], text=[list(WORDS)], return_tensors="pt")
        outputs = find(**asked)
        (label_map,) = build_label_maps(outputs.logits, asked["input_ids"])
        (found,) = words.post_process_grounded_object_detection(
            outputs, asked["input_ids"], threshold=0.0, target_sizes=[size]
        )
        inputs = boxes_to_masks(
            images=[colours_first(photo)],
            input_boxes=[found["boxes"].tolist()],
            return_tensors="pt",
        )
        inputs.pop("original_sizes")
        made = segment(**inputs, multimask_output=False).pred_masks
        (masks,) = boxes_to_masks.post_process_masks(made, [size], binarize=False)
        tokens = outputs.logits[0].sigmoid()
        maps = []
        for own in label_map.bool():
            shares = tokens[:, own].amax(1)
            shares = shares.where(shares > 0.1, 0)
            maps.append((shares[:, None, None] * masks[:, 0].sigmoid()).amax(0))
        return torch.stack(maps)

    return scores


def colours_first(photo: np.ndarray) -> np.ndarray:
    """A photo that no processor can misread, whatever its size."""
    return np.ascontiguousarray(photo.transpose(2, 0, 1))


def at_size(maps: torch.Tensor, photo: np.ndarray) -> torch.Tensor:
    return torch.nn.functional.interpolate(maps[None], photo.shape[:2], mode="bilinear")[0]


def seem(model: Any) -> Scores:
    """What SEEM calls ``sem_seg``, of a photo as its demo prepares it, limited to [0, 1]."""

    def scores(photo: np.ndarray) -> torch.Tensor:
        height, width = photo.shape[:2]
        short = min(height, width)
        size = (512 * width // short, 512 * height // short)
        image = np.array(Image.fromarray(photo).resize(size, Image.Resampling.BICUBIC))
        asked = {"image": torch.from_numpy(image).permute(2, 0, 1), "height": height}
        (found,) = model([{**asked, "width": width}])
        return found["sem_seg"].clamp(0, 1)

    return scores
