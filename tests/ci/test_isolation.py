"""The suite's guard: what a test leaves behind is named, put back, and not blamed on the next."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

LEAKS = {
    "folder": ("os.chdir('..')", "the current folder"),
    "variable": ("os.environ['LEFT'] = 'here'", "os.environ['LEFT']: None is now 'here'"),
    "lost_variable": ("del os.environ['HELD']", "os.environ['HELD']: 'yes' is now None"),
    "path": ("sys.path.insert(0, 'somewhere')", "sys.path"),
    "arguments": ("sys.argv.append('x')", "sys.argv"),
    "module": ("import_hidden()", "sys.modules['hidden']"),
    "package": ("import_hidden('hidden_package.inside')", "sys.modules['hidden_package.inside']"),
    "lost_module": ("del sys.modules['seen']", "sys.modules['seen']"),
    "patch": ("errors.ConformalError = None", "conformal_plugin.errors.ConformalError"),
    "own_module": (
        "del sys.modules['conformal_plugin.errors']; import conformal_plugin.errors",
        "sys.modules['conformal_plugin.errors']",
    ),
    "signal": ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", "the handler of SIGTERM"),
    "numpy": ("np.seterr(all='ignore')", "NumPy's errors"),
    "threads": ("torch.set_num_threads(7)", "torch's threads: 1 is now 7"),
    "dtype": ("torch.set_default_dtype(torch.float64)", "torch's dtype"),
    "watchers": (
        "torch.overrides.BaseTorchFunctionMode().__enter__()",
        "torch's watchers: 0 is now 1",
    ),
    "gradients": ("torch.set_grad_enabled(False)", "torch's gradients"),
}
HEAD = """
import importlib, os, signal, sys
import numpy as np
import pytest
import seen
import torch
from conformal_plugin import errors

def import_hidden(name="hidden"):
    sys.path.insert(0, "elsewhere")
    importlib.import_module(name)
    sys.path.remove("elsewhere")

@pytest.fixture(scope="module")
def of_the_module():
    os.environ["OF_A_FIXTURE"] = "1"

def test_fixture(of_the_module):
    pass

def test_for_all():
    import colorsys, anyone

def test_a_library_that_loads_itself_anew():
    import colorsys
    del sys.modules["colorsys"]
    import colorsys

"""


def run(folder: Path, *options: str) -> str:
    """The report of a suite of one file under the guard."""
    plugins = Path(__file__).resolve().parent.parent / "plugins"
    (folder / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    paths = os.pathsep.join([str(plugins), str(folder)])
    environment = os.environ | {"PYTHONPATH": paths, "HELD": "yes", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-p", "isolation", *options, str(folder)],
        cwd=folder,
        env=environment | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("leaks")
    (folder / "elsewhere" / "hidden_package").mkdir(parents=True)
    for name in (
        "seen.py",
        "anyone.py",
        "elsewhere/hidden.py",
        "elsewhere/hidden_package/inside.py",
    ):
        (folder / name).touch()
    tests = [f"def test_{name}():\n    {line}\n" for name, (line, _) in LEAKS.items()]
    (folder / "test_leaks.py").write_text(HEAD + "\n".join(tests), encoding="utf-8")
    return run(folder)


def errors(report: str) -> dict[str, str]:
    """What was said of each test that left something behind."""
    found = re.findall(
        r"^_+ ERROR at teardown of test_(\w+) _+$\n(.*?)(?=^[_=-]+ )", report, re.M | re.S
    )
    return dict(found)


@pytest.mark.parametrize("name", LEAKS)
def test_a_leak_is_named(report: str, name: str) -> None:
    said = errors(report)[name]
    assert said.startswith("left behind for the next test:\n")
    assert LEAKS[name][1] in said


def test_what_a_fixture_of_the_module_leaves_is_seen(report: str) -> None:
    assert "os.environ['OF_A_FIXTURE']: None is now '1'" in errors(report)["fixture"]


def test_nothing_is_blamed_on_others(report: str) -> None:
    """Each line is said once: the next test found all as it was. Importing is no leak as such."""
    said = errors(report)
    assert set(said) == {*LEAKS, "fixture"}
    assert {name: text.count("is now") for name, text in said.items()} == {
        **dict.fromkeys(said, 1),
        "package": 2,  # and the folder that it lies in
        "own_module": 2,  # and its name in the package
    }
    assert f"{len(LEAKS) + 3} passed" in report


DRAWS = """\
import random

import numpy as np
import pytest
import torch


@pytest.fixture(scope="module")
def of_module():
    return drawn()


@pytest.mark.parametrize("n", range(2))
def test_draws(n):
    print("drew", *drawn())


@pytest.mark.parametrize("n", range(2))
def test_draws_after_a_fixture(n, of_module):  # which the first of the two sets up
    print("fixture", *of_module)
    print("drew", *drawn())


def drawn():
    return random.random(), np.random.rand(), torch.rand(1).item()
"""


def test_each_test_draws_the_same_numbers_whatever_the_order(tmp_path: Path) -> None:
    pytest.importorskip("pytest_randomly")
    (tmp_path / "test_draws.py").write_text(DRAWS, encoding="utf-8")
    orders = (
        ("-p", "no:randomly"),
        *(("-p", "pytest_randomly", f"--randomly-seed={seed}") for seed in (1, 2)),
    )
    printed = [run(tmp_path, *order) for order in orders]
    for word, times in (("drew", 4), ("fixture", 2)):
        found = [re.findall(f"{word} (.*)", text) for text in printed]
        assert [len(some) for some in found] == [times] * 3
        assert len({value for some in found for value in some}) == 1
