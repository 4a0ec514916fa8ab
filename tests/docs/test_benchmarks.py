"""The benchmarks that the docs quote still run, at a size that says nothing but that they do."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SMALL = {
    "betting_failures.py": ["--runs", "2000"],
    "coverage_simulation.py": ["--repeats", "2", "--images", "9", "--pixels", "50"],
    "false_alarms.py": ["--runs", "4"],
    "many_classes.py": ["--repeats", "1"],
    "speed.py": [
        *("--images", "1", "--height", "24", "--width", "24", "--rounds", "1"),
        *("--cases", "filter, float16", "calibrate, float16"),
    ],
}


def run(script: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = ROOT / "benchmarks" / script
    monkeypatch.setattr(sys, "argv", [str(path), *arguments])
    runpy.run_path(str(path), run_name="__main__")


@pytest.mark.parametrize("script", SMALL)
def test_they_run(
    script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(script, SMALL[script], monkeypatch)
    assert len(re.findall(r"\d\.\d{2}", capsys.readouterr().out)) > 5


def test_pages_name_benchmarks_that_exist() -> None:
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md")]
    named = {n for p in pages for n in re.findall(r"benchmarks/(\w+\.py)", p.read_text("utf-8"))}
    assert named
    for name in named:
        assert (ROOT / "benchmarks" / name).exists(), name
