"""The site is built without a warning: links lead somewhere, and what is public is described."""

from __future__ import annotations

import argparse
import importlib
import os
import pickle
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import conformal_plugin.adapters
from conformal_plugin.cli import build_parser

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
# What users and hosts import from. Other packages are for the library itself.
PUBLIC = [
    *("conformal_plugin", "conformal_plugin.errors", "conformal_plugin.files"),
    *("conformal_plugin.annotators", "conformal_plugin.testing"),
    *("conformal_plugin.testing.plugin", "conformal_plugin.testing.strategies"),
    *(
        f"conformal_plugin.adapters.{module.name}"
        for module in pkgutil.iter_modules(conformal_plugin.adapters.__path__)
    ),
]
# What this library and pytest look for by name in a module of a kind.
LOOKED_FOR = {"RECIPES", "pytest_addoption"}

for needed in ("sphinx", "myst_parser", "furo"):
    pytest.importorskip(
        needed, reason=f"needs {needed}, of the extra docs, on Python 3.11 or newer"
    )


def names_in(package: str) -> list[str]:
    """What a package offers: its list, or what its ``__init__`` has taken from private modules."""
    module = importlib.import_module(package)
    taken = (
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", "").startswith("conformal_plugin")
    )
    return list(getattr(module, "__all__", taken))


def build(source: Path, out: Path) -> tuple[str, Any]:
    """What Sphinx prints, and what it has read."""
    options = [
        "-q",
        "-j",
        "1",
        "--conf-dir",
        str(DOCS / "_sphinx"),
        "--doctree-dir",
        str(out / "read"),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *options, str(source), str(out / "html")],
        env={**os.environ, "NO_COLOR": "1"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr, pickle.loads((out / "read" / "environment.pickle").read_bytes())


def linked_files(read: Any) -> set[Path]:
    """What pages link to or show beside other pages, as seen from the source."""
    return {*map(Path, read.dlfiles), *map(Path, read.images)}


def outside(read: Any) -> list[Path]:
    """Those that are on this machine, and on no other."""
    return [path for path in linked_files(read) if path.is_absolute() or ".." in path.parts]


def test_the_site_is_built_without_a_warning_and_describes_what_is_public(tmp_path: Path) -> None:
    printed, read = build(ROOT, tmp_path)
    assert printed == ""

    public = {
        f"{package}.{name}"
        for package in PUBLIC
        for name in names_in(package)
        if name not in LOOKED_FOR
    }
    assert len(public) > 100
    described = {*read.domaindata["py"]["objects"], *read.domaindata["py"]["modules"]}
    assert not public - described, "to be added to a page in docs/api"

    site = tmp_path / "html"
    assert "url=README.html" in (site / "index.html").read_text(encoding="utf-8")
    front = (site / "README.html").read_text(encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        if page.relative_to(DOCS).parts[0] not in ("_sphinx", "_build"):
            place = page.relative_to(ROOT).with_suffix(".html").as_posix()
            assert (site / place).exists()
            assert f'href="{place}"' in front, "not in the sidebar"

    command = (site / "docs" / "api" / "command-line.html").read_text(encoding="utf-8")
    kinds = [a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    assert re.findall(r'<section id="(\w+)">', command) == list(kinds[0].choices)
    assert command.count("exit codes:") == 1 + len(kinds[0].choices)

    assert Path("examples/custom_loss.py") in linked_files(read)
    assert not outside(read)


def test_what_is_broken_is_seen(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "docs").mkdir(parents=True)
    (source / "README.md").write_text(
        "# A [heading](docs/page.md), `code`!\n\n## Twice\n\n## Twice\n\n"
        "```{eval-rst}\n"
        ":func:`calibrat`, :class:`conformal_plugin.Calibrato`, :func:`calibrate`\n\n"
        ".. autofunction:: conformal_plugin.calibrate\n"
        "```\n"
    )
    (source / "docs" / "page.md").write_text(
        "# Here\n\n"
        "[a](../README.md#a-heading-code) [b](../README.md#twice-1) [c](#here) `[x](no.md)`\n"
        "[d](https://example.org/x) [e](none.md) [f](../README.md#twice-2) [g](#no-heading)\n"
        "[h](none.py) [i](../../outside.txt)\n\n```text\n[y](no.md)\n# no heading\n```\n"
    )
    (tmp_path / "outside.txt").touch()
    printed, read = build(source, tmp_path)
    assert outside(read) == [Path("../outside.txt")]
    wrong = re.findall(r"(?:README|page)\.md:\d+: WARNING: (.*) \[(?:myst|ref)\.", printed)
    assert wrong == [
        "py:func reference target not found: calibrat",
        "py:class reference target not found: conformal_plugin.Calibrato",
        "'myst' cross-reference target not found: 'none.md'",
        "local id not found in doc 'README': 'twice-2'",
        "'myst' cross-reference target not found: 'no-heading'",
        "'myst' cross-reference target not found: 'none.py'",
    ]


def test_every_page_is_in_the_index_of_the_docs() -> None:
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    for page in DOCS.glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in index, page.name
