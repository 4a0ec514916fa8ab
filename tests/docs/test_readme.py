"""Every snippet of the README runs: Python blocks as they stand, commands on data made here."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from conformal_plugin.cli import main
from conformal_plugin.files.labels import write_label

ROOT = Path(__file__).resolve().parent.parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
SHELL = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_snippets(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(PYTHON[number], f"README snippet {number}", "exec"), {"__name__": "snippet"})
    printed = capsys.readouterr().out.splitlines()
    # A comment behind a print says what it prints.
    expected = re.findall(r"^print\(.*\)  # (.*)$", PYTHON[number], re.MULTILINE)
    assert set(expected) <= set(printed)


@pytest.fixture
def maps_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folders and lists with the names that the commands of the README use."""
    rng = np.random.default_rng(0)
    lists: dict[str, list[str]] = {"labelled": [], "unlabelled": [], "held_out": []}
    (tmp_path / "probs").mkdir()
    for i in range(9):
        name, height, width = f"image_{i}", 20 + i, 30
        truth = np.repeat(rng.integers(0, 4, (height, 3)), 10, axis=1).astype(np.uint8)
        scores = 0.5 * rng.random((4, height, width))
        scores += 0.5 * (truth == np.arange(4)[:, None, None])
        np.savez(tmp_path / "probs" / f"{name}.npz", probs=scores.astype(np.float16))
        write_label(tmp_path / "labels" / f"{name}.png", truth)
        list(lists.values())[i % 3].append(name)
    for name, ids in lists.items():
        (tmp_path / f"{name}.txt").write_text("\n".join(ids) + "\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands(maps_on_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(ROOT / "tests" / "adapters" / "standin" / "unimatch", maps_on_disk / "UniMatch")
    commands = [
        shlex.split(line, comments=True)[1:]
        for block in SHELL
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("conformal-plugin ")
    ]
    names = [command[0] for command in commands]
    assert names == ["calibrate", "filter", "evaluate", "patch", "patch", "patch", "calibrate"]
    for command in commands:
        assert main(command) == 0, capsys.readouterr().err
    assert len(list((maps_on_disk / "pseudo_labels").glob("*.png"))) == 3
    assert "UniMatchLoop(cfg, criterion_u)" in (maps_on_disk / "UniMatch/unimatch.py").read_text()
    printed = capsys.readouterr().out
    assert "precision" in printed
    assert "stage1_epochs" in printed


def test_the_two_commands_name_what_exists() -> None:
    for folder in ("examples", "tests"):
        assert f"python3 {folder} " in README
        assert (ROOT / folder / "__main__.py").exists()


def test_links_lead_somewhere() -> None:
    for page in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*.md")]:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
