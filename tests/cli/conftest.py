"""A small data set on disk and a way to run the command line in this process."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from conformal_plugin.cli import main
from conformal_plugin.files import write_label

CLASSES, HEIGHT, WIDTH = 4, 6, 5


def make_folder(root: Path, images: int, dtype: type = np.float16) -> argparse.Namespace:
    """``images`` maps and labels of an annotator that is right more often than not."""
    rng = np.random.default_rng(3)
    (root / "maps").mkdir(parents=True)
    ids = [f"im{i:04d}" for i in range(images)]
    for name in ids:
        labels = rng.integers(0, CLASSES, (HEIGHT, WIDTH)).astype(np.uint8)
        scores = rng.dirichlet(np.ones(CLASSES), (HEIGHT, WIDTH)) * 0.5
        scores += 0.5 * np.eye(CLASSES)[labels]
        labels[0, 0] = 255
        np.savez(root / "maps" / f"{name}.npz", probs=scores.transpose(2, 0, 1).astype(dtype))
        write_label(root / "labels" / f"{name}.png", labels)
    (root / "ids.txt").write_text("\n".join(ids) + "\n", encoding="utf-8")
    return argparse.Namespace(
        root=root, maps=root / "maps", labels=root / "labels", list=root / "ids.txt", ids=ids
    )


@pytest.fixture
def data(tmp_path):
    """Twelve images."""
    return make_folder(tmp_path / "data", 12)


@pytest.fixture
def run(capsys):
    """Run a command line; gives the exit code, stdout and stderr."""

    def call(*arguments: object) -> SimpleNamespace:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return SimpleNamespace(code=code, out=captured.out, err=captured.err)

    return call


@pytest.fixture
def calibrated(data, run):
    """A calibration of ``data`` at alpha .2, as a file."""
    path = data.root / "calibration.json"
    done = run(
        "calibrate", "--maps", data.maps, "--labels", data.labels, "--ids", data.list,
        "--alpha", 0.2, "-o", path,
    )  # fmt: skip
    assert done.code == 0, done.err
    return path


@pytest.fixture(scope="session")
def make_data():
    """Makes a data set of any number of images."""
    return make_folder
