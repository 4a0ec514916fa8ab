"""docs/your-data.md: its snippets print what they say; test_layouts.py runs its commands."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from conformal_plugin import LabelMap

PAGE = (Path(__file__).parents[2] / "docs" / "your-data.md").read_text(encoding="utf-8")


def test_python_snippets(capsys):
    names: dict[str, Any] = {"__name__": "snippet"}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(code, "snippet", "exec"), names)
        expected = re.findall(r"print\(.*\)  # (.*)$", code, re.MULTILINE)
        assert capsys.readouterr().out.splitlines() == expected


def test_every_named_label_map_is_in_the_table():
    table = PAGE.split("| `--label-map` |")[1].split("\n\n")[0]
    for name in re.findall(r"^\| `([a-z0-9-]+)` \|", table, re.MULTILINE):
        LabelMap.of(name)
    for name in ("cityscapes", "ade20k", "binary", "voc-colours", "indices"):
        assert f"| `{name}` |" in table
