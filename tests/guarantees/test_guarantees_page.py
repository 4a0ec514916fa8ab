"""What docs/guarantees.md shows runs, and prints what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "guarantees.md"
PYTHON = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_snippets(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(PYTHON[number], f"snippet {number}", "exec"), {"__name__": "snippet"})
    expected = re.findall(r"^print\(.*\)  # (.*)$", PYTHON[number], re.MULTILINE)
    assert expected
    assert capsys.readouterr().out.splitlines() == expected
