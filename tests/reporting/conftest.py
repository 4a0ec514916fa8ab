"""A report made from the command line, of images that were made up."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from conformal_plugin.cli import main
from conformal_plugin.files import write_label

NAMES = ("background", "<b>&amp;", "a class with a long name", "never")


def write_images(root, count=12):
    """Blocky photos, labels and maps; one image without a labelled pixel."""
    rng = np.random.default_rng(0)
    for folder in ("maps", "photos"):
        (root / folder).mkdir(parents=True)
    ids = [f"im{i:02d}" for i in range(count)]
    for i, name in enumerate(ids):
        truth = rng.integers(0, 3, (4, 5)).repeat(8, axis=0).repeat(8, axis=1).astype(np.uint8)
        right = truth == np.arange(4)[:, None, None]
        scores = 0.5 * right + 0.5 * rng.random(right.shape)
        truth[0] = 255
        np.savez(root / "maps" / f"{name}.npz", probs=scores.astype(np.float16))
        write_label(root / "labels" / f"{name}.png", np.full_like(truth, 255) if i == 5 else truth)
        photo = rng.integers(0, 256, (*truth.shape, 3), dtype=np.uint8)
        Image.fromarray(photo).save(root / "photos" / f"{name}.jpg")
    (root / "ids.txt").write_text("\n".join(ids) + "\n")
    (root / "names.txt").write_text("\n".join(NAMES) + "\n")
    return ids


@pytest.fixture(scope="session")
def reported(tmp_path_factory):
    """Two reports of the same images: a pixel calibration, and one threshold per class."""
    root = tmp_path_factory.mktemp("report")
    ids = write_images(root)
    data = ["--maps", root / "maps", "--labels", root / "labels", "--ids", root / "ids.txt"]
    options = ["--photos", root / "photos", "--names", root / "names.txt", "--title", "A & B"]
    for guarantee in ("pixel", "class-conditional"):
        calibration = root / f"{guarantee}.json"
        commands = (
            ["calibrate", *data, "--guarantee", guarantee, "--alpha", "0.1", "-o", calibration],
            ["report", *data, "--calibration", calibration, *options, "--out", root / guarantee],
        )
        for command in commands:
            assert main([str(part) for part in command]) == 0
    return SimpleNamespace(root=root, ids=ids)
