"""A small data set on disk and a way to run the command line in this process."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from conformal_plugin.cli import main
from conformal_plugin.files import write_label

CLASSES, HEIGHT, WIDTH = 3, 8, 6


@pytest.fixture
def data(tmp_path: Path) -> argparse.Namespace:
    """Six maps and labels, an id list, and where they lie."""
    rng = np.random.default_rng(0)
    root = tmp_path / "data"
    (root / "maps").mkdir(parents=True)
    ids = [f"im{number}" for number in range(6)]
    for name in ids:
        truth = rng.integers(0, CLASSES, (HEIGHT, WIDTH)).astype(np.uint8)
        scores = 0.6 * rng.dirichlet(np.ones(CLASSES), (HEIGHT, WIDTH)) + 0.4 * np.eye(3)[truth]
        np.save(root / "maps" / f"{name}.npy", scores.transpose(2, 0, 1).astype(np.float16))
        write_label(root / "labels" / f"{name}.png", truth)
    (root / "ids.txt").write_text("".join(f"{name}\n" for name in ids))
    return argparse.Namespace(
        root=root, maps=root / "maps", labels=root / "labels", list=root / "ids.txt", ids=ids
    )


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., SimpleNamespace]:
    """Run a command line; gives the exit code, stdout and stderr."""

    def call(*arguments: object) -> SimpleNamespace:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return SimpleNamespace(code=code, out=captured.out, err=captured.err)

    return call
