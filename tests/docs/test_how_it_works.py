"""The page for new maintainers: its snippets print what they say, and its modules exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = (ROOT / "docs" / "how-it-works.md").read_text(encoding="utf-8")


def test_its_snippets_print_what_they_say(capsys: pytest.CaptureFixture[str]) -> None:
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
    exec(compile(code, "how-it-works.md", "exec"), {"__name__": "page"})
    expected = re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)
    assert len(expected) == 4
    assert capsys.readouterr().out.splitlines() == expected


def test_every_module_that_it_names_exists() -> None:
    prose = re.sub(r"^```.*?^```$", "", PAGE, flags=re.MULTILINE | re.DOTALL)
    folder = ROOT / "conformal_plugin"
    named = re.findall(r"`((?:\w+/)*)(_\w+\.py)?`", prose)
    assert sum(bool(module) for _, module in named) >= 35
    for where, module in named:
        if where:  # a module named alone is in the folder of the one before it
            whole = where.startswith(("adapters/", "conformal_plugin/"))
            base = ROOT if whole else ROOT / "conformal_plugin"
            folder = base / where
        assert (folder / module).exists(), f"{where}{module}"
