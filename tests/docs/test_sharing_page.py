"""docs/sharing.md: its snippet prints what it says, its command writes what the table names."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from conformal_plugin.cli import main
from conformal_plugin.files import write_label

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "sharing.md").read_text(encoding="utf-8")


def test_its_snippet_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "sharing.md", "exec"), {"__name__": "page"})
    expected = re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)
    assert len(expected) == 1
    assert capsys.readouterr().out.splitlines() == expected


def test_its_command_writes_what_the_table_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    Path("probs").mkdir()
    for i in range(12):
        label = rng.integers(0, 3, (8, 9)).astype(np.uint8)
        scores = 0.5 * rng.dirichlet(np.ones(3), (8, 9)) + 0.5 * np.eye(3)[label]
        np.savez(f"probs/photo{i}.npz", probs=scores.transpose(2, 0, 1).astype(np.float16))
        write_label(Path("labels", f"photo{i}.png"), label)
    Path("names.txt").write_text("background\ncat\ndog\n")
    begun = (
        "calibrate --maps probs --labels labels --alpha 0.1 -o calibration.json",
        "filter --maps probs --calibration calibration.json --out pseudo_labels",
    )
    (shell,) = re.findall(r"```bash\nconformal-plugin (.*?)```", PAGE, re.DOTALL)
    for command in (*begun, shell.replace("\\\n", " ")):
        assert main(shlex.split(command)) == 0, capsys.readouterr().err
    named = {name.rstrip("/") for name in re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)}
    assert {path.name for path in Path("shared").iterdir()} == named
