"""Any test may run before any other: each starts from the same seed, and leaves nothing behind.

A test fails if it, or a fixture of it, leaves changed what the next test in this process would
meet: the current folder, the environment, the import path, modules that are not for all, names in
this package's own, settings of torch. It is put back, so that the next test is not blamed.
"""

from __future__ import annotations

import os
import random
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import pytest

PACKAGE = "conformal_plugin"


def pytest_configure(config: pytest.Config) -> None:
    config.option.randomly_reset_seed = False  # pytest-randomly shuffles, and draws nothing


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup() -> None:
    _seed()  # whatever was set up before


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    _seed()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Iterator[None]:
    item.stash[_BEFORE] = State.now()
    if compiled := sys.modules.get("conformal_plugin.scores.compiled"):
        compiled._seen = 0  # as in a new process: what is small is left to NumPy
        compiled._loaded.cache_clear()
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    yield
    if changes := item.stash[_BEFORE].put_back():
        pytest.fail("left behind for the next test:\n  " + "\n  ".join(changes), pytrace=False)


class State(NamedTuple):
    """What one test could change under another."""

    settings: dict[str, Any]
    environment: dict[str, str]
    modules: dict[str, ModuleType]
    globals: dict[str, dict[str, Any]]

    @classmethod
    def now(cls) -> State:
        """The state of this process."""
        settings = {name: get() for name, (get, _) in _settings().items()}
        modules = sys.modules.copy()
        own = {name: vars(modules[name]).copy() for name in modules if name.startswith(PACKAGE)}
        return cls(settings, os.environ.copy(), modules, own)

    def put_back(self) -> list[str]:
        """Make it so again; what was not, a line each."""
        changes = []
        for name, (get, put) in _settings().items():
            if name in self.settings and get() != self.settings[name]:
                changes.append(f"{name}: {self.settings[name]!r} is now {get()!r}")
                put(self.settings[name])
        for name in _differ(self.environment, os.environ) - _SET_BY_LIBRARIES:
            was = self.environment.get(name)
            changes.append(f"os.environ[{name!r}]: {was!r} is now {os.environ.get(name)!r}")
            _put(os.environ, name, was)
        differ = _differ(self.modules, sys.modules)
        for name in [n for n in differ if not _is_as_good(n, self.modules.get(n))]:
            was = self.modules.get(name)
            changes.append(f"sys.modules[{name!r}]: {was!r} is now {sys.modules.get(name)!r}")
            _put(sys.modules, name, was)
        for module, was in self.globals.items():
            now = vars(self.modules[module])
            for name in was.keys() - _COUNTED:
                if now.get(name) is not was[name]:
                    changes.append(f"{module}.{name}: {was[name]!r} is now {now.get(name)!r}")
                    now[name] = was[name]
        return changes


def _seed() -> None:
    """The same numbers in every run and order: a test that fails by luck says nothing."""
    random.seed(0)
    np.random.seed(0)
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


_BEFORE = pytest.StashKey[State]()
# pytest's own; torch's word for where it keeps what it compiles, said when it first does; that of
# OpenCV, which MONAI loads, for where its libraries are, and MONAI's own for cuBLAS; those of
# scikit-learn, which Label Studio's SDK loads, for what OpenMP is to do.
_SET_BY_LIBRARIES = {
    *("PYTEST_CURRENT_TEST", "TORCHINDUCTOR_CACHE_DIR", "LD_LIBRARY_PATH"),
    *("KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK", "CUBLAS_WORKSPACE_CONFIG"),
}
# What has been read so far, which each test begins with at nothing.
_COUNTED = {"_seen"}


def _settings() -> dict[str, tuple[Callable[[], Any], Callable[[Any], object]]]:
    """How to read a setting, and how to write it."""
    settings: dict[str, tuple[Callable[[], Any], Callable[[Any], object]]] = {
        "the current folder": (os.getcwd, os.chdir),
        # Before modules, which are looked for there.
        "sys.path": (lambda: list(sys.path), lambda was: sys.path.__setitem__(slice(None), was)),
        "sys.argv": (lambda: list(sys.argv), lambda was: sys.argv.__setitem__(slice(None), was)),
        "NumPy's errors": (np.geterr, lambda was: np.seterr(**was)),
        "NumPy's printing": (np.get_printoptions, lambda was: np.set_printoptions(**was)),
    }
    for number in (signal.SIGINT, signal.SIGTERM):
        settings[f"the handler of {number.name}"] = (
            lambda number=number: signal.getsignal(number),
            lambda was, number=number: signal.signal(number, was),
        )
    if torch := sys.modules.get("torch"):
        settings |= {
            "torch's threads": (torch.get_num_threads, torch.set_num_threads),
            "torch's dtype": (torch.get_default_dtype, torch.set_default_dtype),
            "torch's gradients": (torch.is_grad_enabled, torch.set_grad_enabled),
            "torch's watchers": (
                lambda: _watchers(torch),
                lambda was: [torch.overrides._pop_mode() for _ in range(_watchers(torch) - was)],
            ),
            "torch's determinism": (
                torch.get_deterministic_debug_mode,
                torch.set_deterministic_debug_mode,
            ),
            "torch's process group": (
                torch.distributed.is_initialized,
                lambda _: torch.distributed.destroy_process_group(),
            ),
        }
    return settings


def _watchers(torch: ModuleType) -> int:
    """How many are called at each of torch's calls."""
    return len(torch.overrides._get_current_function_mode_stack())


def _differ(was: Mapping[str, Any], now: Mapping[str, Any]) -> set[str]:
    now = dict(now)  # modules may be loaded meanwhile
    return {name for name in {**was, **now} if was.get(name) != now.get(name)}


def _put(values: Any, name: str, was: Any) -> None:
    if was is None:
        del values[name]
    else:
        values[name] = was


def _is_as_good(name: str, was: ModuleType | None) -> bool:
    """Whether what is there now under the name of a module does for all as well as what was."""
    now = sys.modules.get(name)
    if now is None or not _is_for_all(now):
        return False
    if was is None:
        return True
    # A library may load itself anew, as transformers does for its processors; one of ours may not.
    return not name.startswith(PACKAGE) and _place(was.__spec__) == _place(now.__spec__)


def _is_for_all(module: ModuleType) -> bool:
    """Whether it is what anyone gets who imports its name, so that it matters not who was first."""
    spec = getattr(module, "__spec__", None)
    place = _place(spec)
    if place is None:  # put there by another module, or built into Python
        return True
    folders = None
    if parent := spec.name.rpartition(".")[0]:
        if parent not in sys.modules or not _is_for_all(sys.modules[parent]):
            return False
        folders = sys.modules[parent].__path__
    found = (finder.find_spec(spec.name, folders) for finder in sys.meta_path)
    return _place(next((one for one in found if one), None)) == place


def _place(spec: Any) -> Path | None:
    """The file of a module; of a package without ``__init__.py``, where this would be."""
    if spec is not None and spec.has_location:
        return Path(spec.origin)
    folders = list(getattr(spec, "submodule_search_locations", None) or ())
    return Path(folders[0], "__init__.py") if folders else None
