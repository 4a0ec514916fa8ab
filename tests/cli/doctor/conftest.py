"""A run that is in order, for each test to make ill."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from patient import CLASSES, HEIGHT, LABELLED, WIDTH, Patient
from PIL import Image

from conformal_plugin.cli import main

STANDIN = Path(__file__).parents[2] / "adapters" / "standin"


@pytest.fixture(scope="session")
def prepared(tmp_path_factory, make_data) -> Path:
    """Photos, masks, maps, a calibration and pseudo-labels, all made by the commands."""
    root = tmp_path_factory.mktemp("prepared")
    data = make_data(root / "data", 22)
    rng = np.random.default_rng(0)
    (root / "data" / "photos").mkdir()
    for name in data.ids:
        photo = rng.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(photo).save(data.root / "photos" / f"{name}.png")
    lists = {"labelled": data.ids[:LABELLED], "unlabelled": data.ids[LABELLED:]}
    for name, ids in lists.items():
        lines = [f"photos/{i}.png labels/{i}.png" for i in ids]
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")
        (root / f"{name}_ids.txt").write_text("\n".join(ids) + "\n")
    maps = ["--maps", str(data.maps), "--quiet"]
    calibration = str(data.root / "calibration.json")
    labels = ["--labels", str(data.labels), "--ids", str(root / "labelled_ids.txt")]
    assert main(["calibrate", *maps, *labels, "--alpha", "0.2", "-o", calibration]) == 0
    out = ["--ids", str(root / "unlabelled_ids.txt"), "--out", str(data.root / "pseudo")]
    assert main(["filter", *maps, *out, "--calibration", calibration]) == 0
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(STANDIN / "unimatch", root / "host", ignore=ignored)
    (root / "host" / "fixmatch.py").unlink()
    assert main(["patch", str(root / "host"), "--apply", "--quiet"]) == 0
    cfg = {
        "dataset": "pascal",
        "nclass": CLASSES,
        "data_root": "../data",
        "epochs": 8,
        "lr": 0.001,
        "batch_size": 1,
        "conformal": {
            "pseudo_labels": "../data/pseudo",
            "calibration": "../data/calibration.json",
        },
    }
    (root / "config.yaml").write_text(yaml.safe_dump(cfg))
    return root


@pytest.fixture
def patient(prepared: Path, tmp_path: Path) -> Patient:
    """A copy of the prepared run, to make ill."""
    root = shutil.copytree(prepared, tmp_path / "run")
    return Patient(
        root / "host",
        root / "data",
        root / "config.yaml",
        root / "labelled.txt",
        root / "unlabelled.txt",
    )
