"""docs/recipes: each script runs, with its library, in a process of its own as a user starts it."""

from __future__ import annotations

import csv
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from conformal_plugin.cli import main

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "docs" / "recipes"
KEPT = pytest.approx(0.873, abs=0.01)
CANNOT = 77  # the exit status of a process whose library cannot be imported


class Recipe(NamedTuple):
    """A page whose one script needs a library.

    Attributes:
        page: its name.
        modules: what has to be importable.
        packages: those whose versions the index names.
    """

    page: str
    modules: tuple[str, ...]
    packages: tuple[str, ...]


LIGHTNING = Recipe("lightning", ("lightning",), ("lightning",))
TRANSFORMERS = Recipe(
    "transformers", ("transformers", "accelerate"), ("transformers", "accelerate")
)
SMP = Recipe(
    "segmentation-models-pytorch",
    ("segmentation_models_pytorch",),
    ("segmentation-models-pytorch",),
)
MONAI = Recipe("monai", ("monai",), ("monai",))
TORCHGEO = Recipe("torchgeo", ("torchgeo", "lightning"), ("torchgeo",))


def blocks(page: str, language: str) -> list[str]:
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def run(recipe: Recipe, folder: Path) -> str:
    """What the script of a page prints, run in a folder; skips where its library is not there."""
    for module in recipe.modules:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"needs {module}, which is not installed")
    (code,) = blocks(recipe.page, "python")
    (folder / "script.py").write_text(code, encoding="utf-8")
    # A library that is there and cannot be imported, as torchvision of another torch, is no fault
    # of the recipe.
    first = (
        f"import runpy, sys\ntry:\n    import {', '.join(recipe.modules)}\n"
        f"except Exception as error:\n    print(error, file=sys.stderr)\n    sys.exit({CANNOT})\n"
        "runpy.run_path('script.py', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", first],
        cwd=folder,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=540,
    )
    if done.returncode == CANNOT:
        pytest.skip(f"{', '.join(recipe.modules)} cannot be imported: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, done.stderr
    return done.stdout


def logged(folder: Path) -> list[dict[str, float]]:
    """By epoch, what Lightning's CSV logger got from the callback."""
    (path,) = folder.glob("logs/**/metrics.csv")
    with path.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["conformal/stage"]]
    return [
        {
            name: float(value)
            for name, value in row.items()
            if name.startswith("conformal") and value
        }
        for row in rows
    ]


def check_figures(epochs: list[dict[str, Any]]) -> None:
    """Two epochs of stage I, in which the loss on conformal labels falls, and one of stage II."""
    assert [epoch["conformal/stage"] for epoch in epochs] == [1, 1, 2]
    first, second, third = epochs
    for epoch in (first, second):
        assert epoch["conformal/kept"] == KEPT
        assert sum(epoch[f"conformal/labels/{c}"] for c in range(4)) == pytest.approx(1)
        assert sum(epoch[f"conformal/labelled/{c}"] for c in range(4)) == pytest.approx(1)
    assert second["conformal/loss"] < first["conformal/loss"]
    assert "conformal/kept" not in third


def check_lines(printed: str) -> None:
    """The same, where the script prints what was trained on."""
    first, second, third = (line for line in printed.splitlines() if line.startswith("epoch "))
    for line in (first, second):
        assert float(re.findall(r": ([\d.]+)% of", line)[0]) / 100 == KEPT
        assert "in the labels (and in the labelled photos): 0 " in line
    assert third == "epoch 2: no pixel carried a label"


def test_lightning(tmp_path: Path) -> None:
    run(LIGHTNING, tmp_path)
    check_figures(logged(tmp_path))


def test_torchgeo(tmp_path: Path) -> None:
    run(TORCHGEO, tmp_path)
    check_figures(logged(tmp_path))


def test_transformers(tmp_path: Path) -> None:
    printed = run(TRANSFORMERS, tmp_path).splitlines()
    entries = [eval(line, {}) for line in printed if line.startswith("{'conformal/stage': ")]
    check_figures([entry for entry in entries if "epoch" not in entry])


def test_segmentation_models_pytorch(tmp_path: Path) -> None:
    check_lines(run(SMP, tmp_path))


def test_monai(tmp_path: Path) -> None:
    check_lines(run(MONAI, tmp_path))


def test_label_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    data, loop = blocks("label-files", "python")
    (commands,) = blocks("label-files", "bash")
    names: dict[str, Any] = {"__name__": "snippet"}
    exec(compile(data, "label-files.md", "exec"), names)
    for line in commands.replace("\\\n", " ").splitlines():
        assert main(shlex.split(line)[1:]) == 0, capsys.readouterr().err
    capsys.readouterr()
    exec(compile(loop, "label-files.md", "exec"), names)
    losses = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    assert len(losses) == 5
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("recipe", [LIGHTNING, TRANSFORMERS, SMP, MONAI, TORCHGEO])
def test_the_index_names_the_page_and_a_version(recipe: Recipe) -> None:
    index = (PAGES / "README.md").read_text(encoding="utf-8")
    (row,) = [line for line in index.splitlines() if f"[{recipe.page}.md]" in line]
    assert len(re.findall(r"\d+\.\d+\.\d+", row)) == len(recipe.packages)


def test_every_page_has_a_test() -> None:
    pages = {path.stem for path in PAGES.glob("*.md")} - {"README"}
    tested = {one.page for one in (LIGHTNING, TRANSFORMERS, SMP, MONAI, TORCHGEO)}
    assert pages == tested | {"label-files"}
