"""Fixtures that every test folder shares."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

# Timing varies on shared machines: examples are bounded in number, never by the clock.
settings.register_profile("suite", deadline=None, derandomize=True, max_examples=60)
settings.load_profile("suite")

ROOT = Path(__file__).resolve().parent.parent

# The processes of pytest-xdist share the cores, and one alone is to do as they do. OpenMP reads it
# once, when torch is loaded; tests of what several threads do set their number themselves.
os.environ["OMP_NUM_THREADS"] = "1"

pytest_plugins = ["isolation"]  # in plugins/


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist, which need not be installed
def pytest_xdist_auto_num_workers() -> int:
    """One process a core, and at most four: each loads torch and holds real maps."""
    return min(4, os.cpu_count() or 1)


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def start_ranks() -> Callable[..., None]:
    """``start_ranks(work, args, world)`` runs ``work(rank, *args)`` in ``world`` new processes.

    They are forks of a process that has loaded torch, once for all tests, and runs nothing. It
    starts before any test changes the environment, of which each fork would get what it had then.
    """
    import torch.multiprocessing as mp

    method = "spawn"
    if "forkserver" in multiprocessing.get_all_start_methods():
        from multiprocessing import forkserver  # Windows has none

        method = "forkserver"
        multiprocessing.set_forkserver_preload(["torch.distributed", "conformal_plugin.evaluation"])
        forkserver.ensure_running()

    def start(work: Callable[..., None], args: tuple[Any, ...], world: int) -> None:
        with pytest.MonkeyPatch.context() as patched:
            # There `work` is imported by name, in whatever folder pytest was started.
            patched.setattr(sys, "path", [*sys.path, str(ROOT)])
            mp.start_processes(work, args=args, nprocs=world, start_method=method)

    return start


@pytest.fixture(scope="session")
def fresh_python() -> Callable[..., None]:
    """``fresh_python(code, *options, cwd=None)`` runs code in a new process, which must succeed."""

    def run(code: str, *options: str, cwd: Path | None = None) -> None:
        command = [sys.executable, *options, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, check=False)
        assert done.returncode == 0, done.stderr

    return run


@pytest.fixture
def run_script(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """``run_script(path, *arguments)`` runs a script as ``python path`` does, in this process.

    It finds the modules beside it and no others of this repository, each loaded anew; gives what
    it defines. With another ``run_name`` it is imported.
    """

    def own_modules() -> list[str]:
        folders = tuple(str(ROOT / name) + os.sep for name in ("examples", "benchmarks"))
        files = {n: getattr(m, "__file__", None) or "" for n, m in sys.modules.items()}
        return [name for name, file in files.items() if file.startswith(folders)]

    def run(path: Path, *arguments: object, run_name: str = "__main__") -> dict[str, Any]:
        elsewhere = [folder for folder in sys.path if Path(folder) != ROOT / "examples"]
        with monkeypatch.context() as patched:
            patched.setattr(sys, "argv", [str(path), *map(str, arguments)])
            patched.setattr(sys, "path", [str(path.parent), *elsewhere])
            for name in own_modules():
                patched.delitem(sys.modules, name)
            try:
                return runpy.run_path(str(path), run_name=run_name)
            finally:
                for name in own_modules():
                    del sys.modules[name]

    return run


@pytest.fixture(scope="session")
def voc() -> Path:
    """The voc-animals folder: real photos, masks and an annotator's probability maps."""
    folder = Path(os.environ.get("VOC_ANIMALS", ROOT.parent / "shared" / "data" / "voc-animals"))
    if not (folder / "probs").is_dir():
        message = f"no real photos at {folder}: set VOC_ANIMALS to a folder laid out as voc-animals"
        if os.environ.get("REQUIRE_REAL_DATA"):
            pytest.fail(message)
        pytest.skip(message)
    return folder
