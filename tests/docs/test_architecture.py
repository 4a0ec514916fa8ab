"""Which way dependencies point: the core knows no adapter, no command line and no file format."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

OUTER = (
    "training",
    "guarantees",
    "testing",
    "files",
    "cli",
    "adapters",
    "annotators",
    "choosing",
    "reporting",
    "doctor",
)


def imported(path: Path) -> set[str]:
    """Modules of this package that a file imports anywhere, without the package's name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("conformal_plugin"):
            inner = (node.module or "").removeprefix("conformal_plugin").lstrip(".")
            names |= {inner} if inner else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {
                alias.name.removeprefix("conformal_plugin.")
                for alias in node.names
                if alias.name.startswith("conformal_plugin.")
            }
    return names


def modules(folder: Path) -> list[Path]:
    return sorted(p for p in folder.glob("*.py") if p.name != "__init__.py")


def test_the_core_imports_nothing_outward(root: Path) -> None:
    core = modules(root / "conformal_plugin")
    assert len(core) >= 10
    for path in core:
        outward = {name for name in imported(path) if name.split(".")[0] in OUTER}
        assert not outward, f"{path.name} imports {outward}"


def test_training_knows_the_core_alone(root: Path) -> None:
    for path in modules(root / "conformal_plugin" / "training"):
        outward = {name for name in imported(path) if name.split(".")[0] in OUTER[1:]}
        assert not outward, f"{path.name} imports {outward}"


def test_files_know_no_command_line_and_adapters_no_files_of_it(root: Path) -> None:
    for path in modules(root / "conformal_plugin" / "files"):
        assert not any(name.startswith(("cli", "adapters")) for name in imported(path)), path.name
    for path in modules(root / "adapters"):
        assert not any(name.startswith("cli") for name in imported(path)), path.name


def test_no_cycles(root: Path) -> None:
    package = root / "conformal_plugin"
    graph = {p.stem: imported(p) for p in modules(package)}
    folders = {path.parent for path in package.glob("*/*.py")} | {root / "adapters"}
    assert len(folders) >= 8
    for folder in folders:
        graph |= {f"{folder.name}.{p.stem}": imported(p) for p in modules(folder)}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module not in done:
            for other in graph.get(module, ()):
                visit(other, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


@pytest.mark.parametrize("heavy", ["torch", "numpy", "scipy", "PIL", "tqdm"])
def test_importing_the_package_loads_nothing_heavy(
    heavy: str, fresh_python: Callable[..., None]
) -> None:
    code = f"import sys, conformal_plugin, conformal_plugin.cli; sys.exit({heavy!r} in sys.modules)"
    fresh_python(code)
