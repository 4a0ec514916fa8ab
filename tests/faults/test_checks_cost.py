"""The benchmark of what the checks cost still runs, with them, without them and by the clock."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).resolve().parents[2] / "benchmarks" / "checks_cost.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each run is a fork")
def test_it_runs() -> None:
    # A process of its own: one that has threads cannot be forked without care.
    done = subprocess.run(
        [sys.executable, PROGRAM, "--images", "2", "--rounds", "2", "--formats", "npy", "pt"]
        + ["--only", "calibrate"],
        capture_output=True, text=True, check=False, timeout=600,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    rows = re.findall(
        r"^calibrate +(npy|pt) +[\d.]+ +[\d.]+% +[\d.]+%  [\d.]+ \(", done.stdout, re.MULTILINE
    )
    assert rows == ["npy", "pt"], done.stdout
