"""docs/combining.md: its snippet prints what it says, its commands parse, its benchmark runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from conformal_plugin.cli._arguments import build_parser

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "combining.md").read_text(encoding="utf-8")


def test_its_snippet_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "combining.md", "exec"), {"__name__": "page"})
    expected = re.findall(r"^print\(.*\)  # (.*)$", code, re.MULTILINE)
    assert len(expected) == 2
    assert capsys.readouterr().out.splitlines() == expected


def test_its_commands_parse() -> None:
    shell = "".join(re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)).replace("\\\n", " ")
    commands = [line for line in shell.splitlines() if line.startswith("conformal-plugin")]
    assert len(commands) == 3
    for line in commands:
        assert build_parser().parse_args(shlex.split(line)[1:]).command == "combine"


def test_its_benchmark_runs(
    run_script: Callable[..., dict[str, Any]], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    data = tmp_path / "data"
    for folder in ("images", "labels", "probs", "splits"):
        (data / folder).mkdir(parents=True)
    parts = {"labeled_92": 12, "unlabeled_345": 3, "test_245": 3}
    numbers = iter(range(sum(parts.values())))
    for split, count in parts.items():
        names = [f"p{next(numbers)}" for _ in range(count)]
        (data / "splits" / f"{split}.txt").write_text("\n".join(names))
        for name in names:
            label = np.zeros((32, 48), np.uint8)
            label[8:, 16:] = rng.choice([8, 12, 15])
            photo = np.repeat(label[..., None] * 12, 3, axis=2)
            scores = rng.dirichlet(np.full(21, 0.1), label.shape).transpose(2, 0, 1)
            scores = 0.5 * scores + 0.5 * (np.arange(21)[:, None, None] == label)
            Image.fromarray(photo).save(data / "images" / f"{name}.jpg")
            Image.fromarray(label).save(data / "labels" / f"{name}.png")
            np.savez(data / "probs" / f"{name}.npz", probs=scores.astype(np.float16))
    script = ROOT / "benchmarks" / "combine.py"
    run_script(script, "--data", data, "--work", tmp_path / "work")
    printed = capsys.readouterr().out
    assert "fit 6, calibrate 6, measure 6 photos" in printed
    rows = re.findall(r"^\| (\w+) ((?:\| [\d.]+ ){4})\|$", printed, re.MULTILINE)
    assert [name for name, _ in rows] == [
        "first",
        "second",
        "mean",
        "pick",
        "route",
        "stack",
        "alone",
    ]
    # The first annotator's own class leads by far in all but a few pixels.
    assert float(rows[0][1].split()[1]) > 60
