"""Folders of tiny models, and what stands in for processors that need torchvision."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import MAKERS, NEEDS


class Sam3Pixels:
    """Stands in for SAM 3's processor where torchvision is missing: reads the same folder."""

    def __init__(self, words, size):
        self.tokenizer = words
        self.size = (size["height"], size["width"])

    @classmethod
    def from_pretrained(cls, folder):
        import transformers

        settings = json.loads((Path(folder) / "processor_config.json").read_text())
        words = transformers.CLIPTokenizer.from_pretrained(folder)
        return cls(words, settings["image_processor"]["size"])

    def __call__(self, images, return_tensors):
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 127.5 - 1
        return {"pixel_values": torch.nn.functional.interpolate(pixels, size=self.size)}


class Sam2Pixels:
    """Stands in for SAM 2's processor where torchvision is missing: reads the same folder."""

    def __init__(self, size):
        self.size = (size["height"], size["width"])

    @classmethod
    def from_pretrained(cls, folder):
        return cls(json.loads((Path(folder) / "preprocessor_config.json").read_text())["size"])

    def __call__(self, images, input_boxes, return_tensors):
        (image,), boxes = images, torch.tensor(input_boxes)
        height, width = image.shape[:2]
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1
        down, right = self.size[0] / height, self.size[1] / width
        return {
            "pixel_values": torch.nn.functional.interpolate(pixels, size=self.size),
            "input_boxes": boxes * torch.tensor([right, down, right, down]),
            "original_sizes": torch.tensor([[height, width]]),
        }

    def post_process_masks(self, masks, original_sizes, *, binarize):
        assert not binarize
        return [
            torch.nn.functional.interpolate(one, size=tuple(size), mode="bilinear")
            for one, size in zip(masks, original_sizes.tolist())
        ]


@pytest.fixture
def sam3_processor(monkeypatch):
    """SAM 3's processor, or what stands in for it, which then is what transformers offers."""
    return offered(monkeypatch, "Sam3Processor", Sam3Pixels)


@pytest.fixture
def sam2_processor(monkeypatch):
    """SAM 2's processor, or what stands in for it, which then is what transformers offers."""
    return offered(monkeypatch, "Sam2Processor", Sam2Pixels)


def offered(monkeypatch, name, stand_in):
    # Loading this puts another module in the place of transformers, once.
    pytest.importorskip("transformers.processing_utils")
    transformers = pytest.importorskip("transformers")
    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError):
        monkeypatch.setattr(transformers, name, stand_in, raising=False)
    return getattr(transformers, name)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Gives the folder of a tiny model by its kind, made when it is first asked for."""
    transformers = pytest.importorskip("transformers")
    made = {}

    def folder(kind):
        if kind in NEEDS and not hasattr(transformers, NEEDS[kind]):
            pytest.skip(f"transformers {transformers.__version__} has no {NEEDS[kind]}")
        if kind not in made:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                made[kind] = MAKERS[kind](tmp_path_factory.mktemp("models") / kind)
        return made[kind]

    return folder
