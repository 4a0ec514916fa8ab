"""A stand-in host and a few photos of its own for every adapter test."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

STANDIN = Path(__file__).parent / "standin"
SIZES = [(40, 30), (30, 40), (48, 24), (33, 33), (20, 51), (45, 45)]  # H, W
CROP = 32
CLASSES = 4


def photo_labels(photo):
    """A label for each pixel of an RGB photo, read off the pixel alone: what tests compare with."""
    return (photo.astype(np.int64) @ [1, 2, 4]) // 7 % CLASSES


@dataclass
class Data:
    """A data set on disk: ``root/photos``, ``root/masks``, id lists and pseudo-labels."""

    root: Path
    lines: list[str]

    @property
    def pseudo(self) -> Path:
        return self.root / "pseudo"

    @property
    def unlabelled(self) -> Path:
        return self.root / "unlabelled.txt"

    def list_ids(self, lines: list[str]) -> Path:
        path = self.root / "listed.txt"
        path.write_text("\n".join(lines) + "\n")
        return path


@pytest.fixture
def data(tmp_path: Path) -> Data:
    """Photos of random pixels; the mask file and the pseudo-label are a function of the pixels."""
    rng = np.random.default_rng(5)
    for folder in ("photos", "masks", "pseudo"):
        (tmp_path / folder).mkdir()
    lines = []
    for i, (height, width) in enumerate(SIZES):
        photo = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        labels = photo_labels(photo).astype(np.uint8)
        Image.fromarray(photo).save(tmp_path / "photos" / f"p{i}.png")
        Image.fromarray(labels).save(tmp_path / "masks" / f"p{i}.png")
        Image.fromarray(labels).save(tmp_path / "pseudo" / f"p{i}.png")
        lines.append(f"photos/p{i}.png masks/p{i}.png")
    made = Data(tmp_path, lines)
    made.unlabelled.write_text("\n".join(lines) + "\n")
    return made


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The stand-in's dataset module, imported as a host's scripts import theirs."""
    monkeypatch.syspath_prepend(STANDIN)
    for name in ("standin_semi", "standin_transform"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module("standin_semi")
    yield module
    for name in ("standin_semi", "standin_transform"):
        sys.modules.pop(name, None)


@pytest.fixture
def host_dataset(host: ModuleType, data: Data):
    """The unlabelled dataset as a host's script makes it."""
    return host.SemiDataset("pascal", str(data.root), "train_u", CROP, str(data.unlabelled))
