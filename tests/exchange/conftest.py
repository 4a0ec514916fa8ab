"""Label maps of a few classes, with dropped pixels, in a folder of photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conformal_plugin.exchange import SentPhoto, Sheet, Vocabulary, labels_checksum

HEIGHT, WIDTH = 37, 53


@pytest.fixture
def vocabulary() -> Vocabulary:
    """Three classes, one of them with letters that XML has for itself."""
    return Vocabulary(("background", "cat", 'dog "x" & <y>'), 0)


@pytest.fixture
def sheets(tmp_path: Path) -> list[Sheet]:
    """A photo of all classes, one in a folder with a dot in its name, one of background alone."""
    rng = np.random.default_rng(0)
    made = []
    for name in ("a", "sub/b.c", "empty"):
        labels = np.zeros((HEIGHT, WIDTH), np.uint8)
        if name != "empty":
            labels[5:20, 7:30] = 1
            labels[15:30, 25:50] = 2
            labels[rng.random(labels.shape) < 0.1] = 255
        path = tmp_path / "photos" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(path)
        photo = SentPhoto(name, f"{name}.jpg", HEIGHT, WIDTH, labels_checksum(labels))
        made.append(Sheet(photo, path, labels))
    return made
