"""Warnings of Python's come as the commands' own: one line, no code."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from conformal_plugin.cli._shown_warnings import shown_in_style
from conformal_plugin.files import voc_palette


def test_moved_palettes_are_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "labels").mkdir()
    labels = np.kron(np.eye(2, dtype=np.uint8), np.ones((4, 4), np.uint8))
    colours = np.array(list(voc_palette())).reshape(-1, 3)
    moved = np.zeros((256, 3), np.uint8)
    moved[:2] = colours[[0, 15]]  # "person" at index 1, as pngquant would write it
    for number in range(4):
        scores = 0.2 + 0.6 * (labels == np.arange(2)[:, None, None])
        np.save(tmp_path / "maps" / f"{number}.npy", scores.astype(np.float32))
        image = Image.fromarray(labels)
        image.putpalette(moved.tobytes())
        image.save(tmp_path / "labels" / f"{number}.png")
    command = (
        *(
            sys.executable,
            "-c",
            "import sys; from conformal_plugin.cli import main; sys.exit(main())",
        ),
        *("calibrate", "--maps", "maps"),
        *("--labels", "labels", "--alpha", "0.3", "-o", "c.json", "--quiet"),
    )
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    first, *others = done.stderr.splitlines()
    assert first.startswith("warning: the label labels")
    assert "index 1 has that of class 15" in first
    assert not any("Warning" in line or "warnings.warn" in line for line in others)


def test_those_of_other_packages_keep_their_place(capsys: pytest.CaptureFixture[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with shown_in_style():
            warnings.warn("this will go", FutureWarning, stacklevel=1)
    shown = capsys.readouterr().err
    assert shown.startswith("warning: this will go (FutureWarning, ")
    assert "test_shown_warnings.py:" in shown
    assert shown.count("\n") == 1
