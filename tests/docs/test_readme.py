"""Every snippet of the README runs: Python blocks as they stand, commands on data made here."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
from pathlib import Path

import pytest
from lite_stand_in import lite_stand_in

from conformal_plugin.cli import main
from conformal_plugin.rehearsing import _probe

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
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the README has examples/demo_data.py write, of fewer scenes."""
    folder = tmp_path / "demo"
    script = importlib.import_module("demo_data")
    assert script.main([str(folder), "--scenes=20", "--steps=60"]) == 0
    monkeypatch.chdir(folder)
    return folder


def test_commands(
    demo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    lite_stand_in(monkeypatch, demo.parent)
    monkeypatch.setattr(_probe, "_STEPS", 20)
    shutil.copytree(ROOT / "tests" / "adapters" / "standin" / "unimatch", demo / "UniMatch")
    commands = [
        shlex.split(line, comments=True)[1:]
        for block in SHELL
        for line in block.replace("\\\n", " ").splitlines()
        if line.startswith("conformal-plugin ")
    ]
    names = [command[0] for command in commands]
    assert names == ["calibrate", "filter", "report", "rehearse", "patch", "patch"]
    assert "`python examples/demo_data.py demo`" in README
    for command in commands:
        assert main(command) == 0, capsys.readouterr().err
    assert len(list((demo / "pseudo_labels").glob("*.png"))) == 8
    assert "<svg" in (demo / "report" / "report.html").read_text(encoding="utf-8")
    assert "UniMatchLoop(cfg, criterion_u)" in (demo / "UniMatch/unimatch.py").read_text()
    printed = capsys.readouterr().out
    assert "Proposed: " in printed
    assert "students without them" in printed


def test_the_two_commands_name_what_exists() -> None:
    for folder in ("examples", "tests"):
        assert f"python3 {folder} " in README
        assert (ROOT / folder / "__main__.py").exists()
