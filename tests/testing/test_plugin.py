"""The pytest plugin: what it offers, and that suites which do not use it do not notice it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest

from conformal_plugin import calibrate, evaluate
from conformal_plugin.errors import OptionError
from conformal_plugin.testing import CoverageError
from conformal_plugin.testing.plugin import CoverageFixture

PLUGIN = "conformal_plugin.testing.plugin"


def run(folder: Path, test: str, *options: str, plugin: bool = True) -> tuple[int, str]:
    """Run a suite of one file in a process of its own; its exit status and output."""
    (folder / "test_it.py").write_text(test, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n", encoding="utf-8")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider"),
            *(("-p", PLUGIN) if plugin else ()),
            *options,
            str(folder),
        ],
        cwd=folder,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


USES_IT = """
import pytest

def test_passes(coverage):
    coverage.points(1790, 2000, n_calibration=500, alpha=0.1)
    coverage.images([0.9] * 50, n_calibration=50, alpha=0.1)
    coverage.threshold_rule(lambda s, a: 1.0, n_calibration=20, alpha=0.1, runs=5)
    coverage.image_precision([0] * 9, [5] * 9, epsilon=0.1)
    coverage.image_wise([0.9] * 9, n_calibration=20, alpha=0.1, tau=0.8)
    assert coverage.alarm_rate == 1e-3

def test_stays_within_chance(coverage):
    coverage.points(1700, 2000, n_calibration=500, alpha=0.1)

def test_fails_at_a_rate_of_its_own(coverage):
    coverage.points(1700, 2000, n_calibration=500, alpha=0.1, false_alarm=0.05)
"""


def test_the_fixture_asserts_at_the_rate_of_the_suite(tmp_path: Path) -> None:
    status, output = run(tmp_path, USES_IT, "-q")
    assert status == 1, output
    assert "1 failed, 2 passed" in output
    assert "test_fails_at_a_rate_of_its_own" in output
    assert "coverage 0.85 is too low to be chance" in output
    assert "conformal_plugin/testing/_points.py" not in output, "the failure is the test's line"


BORDERLINE = """
def test_it(coverage):
    coverage.points(1700, 2000, n_calibration=500, alpha=0.1)
"""


def test_the_rate_of_the_command_line_is_used(tmp_path: Path) -> None:
    status, output = run(tmp_path, BORDERLINE, "-q", "--coverage-alarm-rate", "0.04")
    assert status == 1
    assert "coverage 0.85 is too low to be chance" in output


def test_calling_the_fixture_takes_evaluations() -> None:
    rng = np.random.default_rng(0)
    labels, scores = rng.integers(0, 3, 400), rng.dirichlet(np.ones(3), 400)
    calibration = calibrate(scores[:200], labels[:200], 0.1)
    assertion = CoverageFixture(1e-3)
    assertion(evaluate(scores[200:], labels[200:], calibration), calibration)
    with pytest.raises(CoverageError):
        assertion(evaluate(scores[200:], labels[200:], 0.3), calibration)
    with pytest.raises(OptionError, match="false_alarm must be a rate"):
        CoverageFixture(2.0).points(9, 10, n_calibration=20, alpha=0.1)


def test_help_names_the_option(tmp_path: Path) -> None:
    status, output = run(tmp_path, "", "--help")
    assert status == 0
    assert "--coverage-alarm-rate=RATE" in output
    status, output = run(tmp_path, "", "--fixtures")
    assert "Assertions on conformal coverage" in output


MODULES = """
import json, sys

def test_modules():
    with open("modules.json", "w") as file:
        json.dump(sorted(sys.modules), file)

def test_a_fixture_of_the_suite_wins(coverage):
    assert coverage == "mine"
"""

OWN_FIXTURE = """
import pytest

@pytest.fixture
def coverage():
    return "mine"
"""


def test_a_suite_that_does_not_use_it_loads_five_small_modules(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(OWN_FIXTURE, encoding="utf-8")
    loaded = {}
    for plugin in (True, False):
        status, output = run(tmp_path, MODULES, "-q", plugin=plugin)
        assert status == 0, output
        assert "2 passed" in output
        loaded[plugin] = set(json.loads((tmp_path / "modules.json").read_text()))
    assert loaded[True] - loaded[False] == {
        "conformal_plugin",
        "conformal_plugin._lazy",
        "conformal_plugin._moved",
        "conformal_plugin.testing",
        "conformal_plugin.testing.plugin",
    }


def test_pytest_finds_it_by_its_entry_point() -> None:
    declared = {entry.value for entry in entry_points(group="pytest11")}
    assert PLUGIN in declared, "declare it in setup.cfg and install the package anew"


def test_names_are_loaded_on_first_use(fresh_python: Callable[..., None]) -> None:
    code = (
        "import sys, conformal_plugin.testing as testing\n"
        "heavy = {'torch', 'numpy', 'scipy', 'pytest', 'hypothesis'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
        "assert set(testing.__all__) <= set(dir(testing))\n"
        "for name in testing.__all__:\n    assert getattr(testing, name).__doc__, name\n"
        "assert not {'pytest', 'hypothesis'} & set(sys.modules)\n"
    )
    fresh_python(code)


def test_an_unknown_name_is_an_attribute_error() -> None:
    import conformal_plugin.testing

    with pytest.raises(AttributeError, match="has no attribute 'assert_coverag'"):
        conformal_plugin.testing.assert_coverag  # noqa: B018
