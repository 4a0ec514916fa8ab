"""The workflow can only run elsewhere: here, that it can be read and calls what there is."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")


@pytest.fixture
def jobs(root: Path) -> dict[str, Any]:
    (path,) = (root / ".github" / "workflows").iterdir()
    return yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]


@pytest.fixture
def matrix(root: Path) -> dict[str, str]:
    """The Python of each row of .ci/matrix."""
    done = subprocess.run(
        [sys.executable, root / ".ci" / "matrix", "--list"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dict(re.findall(r"^(\S+): Row\(python='([\d.]+)'", done.stdout, re.M))


def commands(jobs: dict[str, Any]) -> list[list[str]]:
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert all(("run" in step) != ("uses" in step) for step in steps)
    return [shlex.split(step["run"]) for step in steps if "run" in step]


def test_each_command_is_a_script_of_this_repository(jobs: dict[str, Any], root: Path) -> None:
    called = [(program, script) for program, script, *_ in commands(jobs)]
    assert called == [("bash", ".ci/run"), ("python", "tests"), ("python", ".ci/matrix")]
    for _, script in called:
        assert (root / script).exists()
    assert (root / "tests" / "__main__.py").exists()


def test_the_three_systems_run_the_suite(jobs: dict[str, Any]) -> None:
    systems = {name.partition("-")[0] for name in jobs["suite"]["strategy"]["matrix"]["os"]}
    assert systems == {"ubuntu", "macos", "windows"}


def test_each_row_is_one_of_the_matrix_and_has_its_python(
    jobs: dict[str, Any], matrix: dict[str, str]
) -> None:
    rows = {row["row"]: row["python"] for row in jobs["versions"]["strategy"]["matrix"]["include"]}
    assert {"oldest", "newest"} <= set(rows)
    assert rows == {name: matrix[name] for name in rows}
    (command,) = (command for command in commands(jobs) if ".ci/matrix" in command)
    assert command[2:] == ["${{", "matrix.row", "}}"]


def test_every_job_checks_out_sets_up_a_python_and_ends(jobs: dict[str, Any]) -> None:
    for job in jobs.values():
        checkout, setup, _ = job["steps"]
        assert checkout["uses"].startswith("actions/checkout@")
        assert setup["uses"].startswith("actions/setup-python@")
        assert isinstance(setup["with"]["python-version"], str)  # 3.10 without quotes is 3.1
        assert job["timeout-minutes"] <= 60


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such bit")
def test_scripts_can_be_called(root: Path) -> None:
    assert os.access(root / ".ci" / "matrix", os.X_OK)
