"""examples/first_look.ipynb: its cells run in order, and show what they are there for."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import demo_data
import pytest
from PIL import Image

NOTEBOOK = Path(__file__).resolve().parents[2] / "examples" / "first_look.ipynb"
CELLS = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def shown(cell: dict[str, Any], names: dict[str, Any]) -> Any:
    """Run a cell as Jupyter does; the value of an expression at its end."""
    tree = ast.parse("".join(cell["source"]))
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, NOTEBOOK.name, "exec"), names)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names)


def test_its_cells_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write = demo_data.write_scenes
    monkeypatch.setattr(demo_data, "write_scenes", lambda folder, count: write(folder, count, 60))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    values = [shown(cell, names) for cell in CELLS if cell["cell_type"] == "code"]
    printed = capsys.readouterr().out
    assert "Proposed: " in printed
    assert "With probability at least 90 %" in printed
    assert sum(isinstance(value, Image.Image) for value in values) == 2
    assert (tmp_path / "demo" / "report" / "report.html").is_file()


def test_it_is_kept_as_it_ran() -> None:
    """Every cell has its output, none is an error, and nothing of the machine is in it."""
    for cell in CELLS:
        outputs = cell.get("outputs", [])
        assert cell["cell_type"] == "markdown" or outputs
        assert all(output["output_type"] != "error" for output in outputs)
    assert "/work" not in NOTEBOOK.read_text(encoding="utf-8")
