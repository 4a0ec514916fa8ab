"""Processes that end, and disks that are full, at the first, a middle and the last operation."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SURVEY = Path(__file__).resolve().parents[2] / "benchmarks" / "crash_points.py"
COMMANDS = ("filter", "annotate, labels", "plan", "review", "export, masks", "import", "patch")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a process for each of them")
def test_the_same_command_goes_on_to_the_same_bytes() -> None:
    # A process of its own: one that has threads cannot be forked without care.
    done = subprocess.run(
        [sys.executable, SURVEY, "--most", "3", "--only", *COMMANDS],
        capture_output=True, text=True, check=False, timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"killed: (\d)", done.stdout) == ["3"] * len(COMMANDS)
    assert done.stdout.count("read-only: 1") == len(COMMANDS)
