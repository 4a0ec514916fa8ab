"""Which way dependencies point: down, from a folder to the floors below its own."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

PACKAGE = "conformal_plugin"
# From the ground up. What every floor uses lies beside the folders.
FLOORS = (
    ("scores", "processes", "betting"),
    ("calibration", "files"),
    ("labelling", "annotators", "combining", "exchange", "hub"),
    ("precision", "evaluation", "training", "choosing", "review"),
    ("testing", "adapters", "rehearsing"),
    ("reporting", "doctor"),
    ("cli",),
)
FLOOR_OF = {folder: floor for floor, folders in enumerate(FLOORS) for folder in folders}


def modules(root: Path) -> dict[str, Path]:
    """Every module of the package, as it is installed, by its full name."""
    found = {}
    for base, prefix in ((root / PACKAGE, PACKAGE), (root / "adapters", f"{PACKAGE}.adapters")):
        for path in base.rglob("*.py"):
            parts = [prefix, *path.relative_to(base).with_suffix("").parts]
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imported(path: Path, known: dict[str, Path]) -> set[str]:
    """The package's modules that a file imports anywhere, for types alone too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == PACKAGE:
            assert node.module is not None
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in known else node.module for name in inner}
        elif isinstance(node, ast.Import):
            names |= {a.name for a in node.names if a.name.split(".")[0] == PACKAGE}
    return names


def folder_of(module: str) -> str:
    """The first folder below the package; empty for what lies beside the folders."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in FLOOR_OF else ""


@pytest.fixture(scope="module")
def imports(root: Path) -> dict[str, set[str]]:
    """By module, what it imports."""
    known = modules(root)
    return {name: imported(path, known) for name, path in known.items()}


def test_every_folder_has_its_floor(root: Path) -> None:
    folders = {path.parent.name for path in (root / PACKAGE).glob("*/*.py")} | {"adapters"}
    assert folders == set(FLOOR_OF)


def test_a_folder_imports_the_floors_below_its_own(imports: dict[str, set[str]]) -> None:
    for module, others in imports.items():
        if module == PACKAGE:  # offers the public names of all
            continue
        here = folder_of(module)
        for other in others:
            there = folder_of(other)
            below = there == here or not there or (here and FLOOR_OF[there] < FLOOR_OF[here])
            assert below, f"{module} imports {other}"


def test_a_private_module_is_imported_in_its_own_folder_alone(
    imports: dict[str, set[str]],
) -> None:
    for module, others in imports.items():
        for other in others:
            folder, _, name = other.rpartition(".")
            if name.startswith("_"):
                assert module == folder or module.startswith(f"{folder}."), (
                    f"{module} imports {other}: import it from {folder}, which says what is meant "
                    f"for others"
                )


def test_a_module_without_an_underscore_is_public(root: Path) -> None:
    public = {name for name in modules(root) if not name.rpartition(".")[2].startswith("_")}
    packages = {name for name, path in modules(root).items() if path.name == "__init__.py"}
    assert public - packages == {
        "conformal_plugin.adapters.allspark",
        "conformal_plugin.adapters.corrmatch",
        "conformal_plugin.adapters.fixmatch",
        "conformal_plugin.adapters.source",
        "conformal_plugin.adapters.unimatch",
        "conformal_plugin.adapters.unimatch_v2",
        "conformal_plugin.errors",
        "conformal_plugin.testing.plugin",
        "conformal_plugin.testing.strategies",
    }


def test_no_cycles(imports: dict[str, set[str]]) -> None:
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail, module))
        if module not in done:
            for other in imports.get(module, ()):
                if module != PACKAGE and other != PACKAGE:
                    visit(other, (*trail, module))
            done.add(module)

    for module in imports:
        visit(module, ())


def test_the_sketch_of_the_house_names_every_folder(root: Path) -> None:
    page = (root / "CONTRIBUTING.md").read_text(encoding="utf-8")
    sketch = page.split("```")[1]
    for folder in FLOOR_OF:
        assert f"{folder}/" in sketch, folder


@pytest.mark.parametrize("heavy", ["torch", "numpy", "scipy", "PIL", "tqdm"])
def test_importing_the_package_loads_nothing_heavy(
    heavy: str, fresh_python: Callable[..., None]
) -> None:
    code = f"import sys, conformal_plugin, conformal_plugin.cli; sys.exit({heavy!r} in sys.modules)"
    fresh_python(code)
