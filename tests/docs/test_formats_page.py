"""docs/formats.md: its snippets run and print what they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "formats.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("number", range(len(PYTHON)))
def test_python_snippets(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(PYTHON[number], f"snippet {number}", "exec"), {"__name__": "snippet"})
    expected = re.findall(r"print\(.*\)  # (.*)$", PYTHON[number], re.MULTILINE)
    assert capsys.readouterr().out.splitlines() == expected
