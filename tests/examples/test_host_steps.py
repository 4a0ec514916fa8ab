"""Steps of two runs in turn: what they took, and a run that ends too early."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from host_run import HostRun
from host_steps import WARM, step_times, steps_table

from conformal_plugin.errors import ConformalError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="named pipes")

SCRIPT = """\
import sys, time

import torch
import yaml

given = dict(zip(sys.argv[1::2], sys.argv[2::2]))
config = yaml.safe_load(open(given["--config"]))
optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
print("begun")
for step in range(config["steps"]):
    until = time.process_time() + config["busy"]
    while time.process_time() < until:
        pass
    optimizer.step()
"""


def run(folder: Path, busy: float, steps: int) -> HostRun:
    (folder / "train.py").write_text(SCRIPT)
    lists = (folder / "labeled.txt", folder / "unlabeled.txt")
    return HostRun(folder, folder, "train.py", {"busy": busy, "steps": steps}, lists, 0)


def runner() -> str:
    return f"'{sys.executable}' {{script}}"


def test_a_run_that_does_twice_as_much_takes_twice_as_long(tmp_path: Path) -> None:
    runs = {"plain": run(tmp_path, 0.02, 99), "more": run(tmp_path, 0.04, 99)}
    times = step_times(runs, runner(), 7)
    assert times["plain"].ratio == times["plain"].total_ratio == 1.0
    assert 1.6 < times["more"].ratio < 2.4
    assert 0.038 < times["more"].median < 0.06
    lines = steps_table(times, {"plain": "alone", "more": "with more"}).splitlines()
    assert lines[2].startswith("| alone | 2")
    assert lines[2].endswith("| 1.000 | 1.000 |")
    assert lines[3].startswith("| with more | 4")


def test_a_run_that_ends_too_early_is_named_with_its_last_words(tmp_path: Path) -> None:
    runs = {"plain": run(tmp_path, 0.001, 99), "short": run(tmp_path, 0.001, WARM)}
    with pytest.raises(ConformalError, match="short ended after too few steps(.|\n)*begun"):
        step_times(runs, runner(), 4)
