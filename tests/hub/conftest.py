"""A calibration, labels that it made, and the folder in which both are shared."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from conformal_plugin import calibrate, filter
from conformal_plugin.files import write_label
from conformal_plugin.hub import LabelSet, share

NAMES = ("background", "cat", "dog")


@pytest.fixture
def made(tmp_path: Path) -> SimpleNamespace:
    """``calibration`` and ``file``, a ``LabelSet`` of three ``labels``, and their arrays."""
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, (8, 6, 7))
    noise = rng.random((8, 3, 6, 7), dtype=np.float32)
    scores = 0.5 * noise + 0.5 * (truth[:, None] == np.arange(3)[:, None, None])
    calibration = calibrate(scores[:5], truth[:5], alpha=0.3)
    calibration.save(tmp_path / "calibration.json")
    arrays = filter(scores[5:], calibration, rule="singleton")
    files = {f"of/im{i}.png": tmp_path / "made" / f"im{i}.png" for i in range(3)}
    for path, array in zip(files.values(), arrays):
        write_label(path, array)
    return SimpleNamespace(
        calibration=calibration,
        file=tmp_path / "calibration.json",
        labels=LabelSet(files, dropped=255, remarks=["the labels are <odd>"]),
        arrays=arrays,
    )


@pytest.fixture
def shared(tmp_path: Path, made: SimpleNamespace) -> Path:
    """The folder with both."""
    folder = tmp_path / "shared"
    share(folder, made.file, class_names=NAMES, license="cc-by-4.0", labels=made.labels)
    return folder
