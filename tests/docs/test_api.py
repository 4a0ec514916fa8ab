"""docs/api/ is what the builder makes of the docstrings, and the docstrings leave nothing out."""

from __future__ import annotations

import argparse
import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

import conformal_plugin
import conformal_plugin.annotators
import conformal_plugin.files
import conformal_plugin.testing
from conformal_plugin.cli._arguments import build_parser

ROOT = Path(__file__).resolve().parents[2]
BUILDER = ROOT / "docs" / "builder"
Built = tuple[dict[str, str], list[str]]


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    sys.path.insert(0, str(BUILDER))
    try:
        return importlib.import_module("api_pages")
    finally:
        sys.path.remove(str(BUILDER))


@pytest.fixture(scope="module")
def built(builder: ModuleType) -> Built:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("COLUMNS", "80")  # the builder sets its own, and it is put back afterwards
        patched.setenv("NO_COLOR", "1")
        return builder.build()


def test_the_pages_are_up_to_date(builder: ModuleType, built: Built) -> None:
    assert builder.outdated(built[0]) == [], "run: python docs/builder"


def test_a_page_that_is_changed_missing_or_left_over_is_out_of_date(
    builder: ModuleType, built: Built
) -> None:
    pages = dict(built[0])
    assert "miscoverage level" in pages["core.md"]
    pages["core.md"] = pages["core.md"].replace("miscoverage level", "level", 1)
    pages["new.md"] = "# New\n"
    del pages["files.md"]
    changed = pages["command-line.md"].replace("--quiet", "--silent", 1)
    pages["command-line.md"] = changed
    assert builder.outdated(pages) == ["command-line.md", "core.md", "files.md", "new.md"]


def test_the_help_of_another_python_is_the_same_page(builder: ModuleType, built: Built) -> None:
    """3.13 writes ``-o, --output FILE``, and breaks lines elsewhere."""
    text = built[0]["command-line.md"]
    assert "-o FILE, --output FILE" in text or sys.version_info >= (3, 13)
    other = text.replace("-o FILE, --output FILE", "-o, --output FILE").replace("\n    ", "\n  ")
    assert builder.outdated({**built[0], "command-line.md": other}) == []


def test_docstrings_are_there_and_fit_their_signatures(built: Built) -> None:
    assert built[1] == []


def test_what_does_not_fit_is_said(builder: ModuleType) -> None:
    from api_docstrings import disagreements, read

    doc = read(
        """Add.

        Args:
            first, second: summands,
                of one kind.
            last: none such.

        Raises:
            ValueError,
            TypeError: not numbers.
        """
    )
    assert doc.items["Args"][0].text == "summands,\nof one kind."
    assert doc.items["Raises"][0].names == ("ValueError", "TypeError")
    assert disagreements(doc, ["first", "second", "third"]) == [
        "Args names last, which the signature lacks",
        "Args says nothing of third",
    ]
    assert disagreements(read("Add."), ["first"]) == []
    with pytest.raises(ValueError, match="expected NAME: text"):
        read("Add.\n\nArgs:\n    the first of them\n")


def test_every_public_name_is_described_once(built: Built) -> None:
    pages = built[0]
    names = [name for text in pages.values() for name in re.findall(r"^### (\w+)$", text, re.M)]
    public = set(conformal_plugin.__all__) - {"errors", "__version__"}
    public |= set(conformal_plugin.errors.__all__)
    for package in (conformal_plugin.testing, conformal_plugin.annotators, conformal_plugin.files):
        public |= set(package.__all__)
    assert public <= set(names), public - set(names)
    for name in public:
        path = re.compile(rf"^### {name}\n\n`(conformal_plugin[\w.]*)\.{name}`", re.M)
        assert any(path.search(text) for text in pages.values()), name
    for name in set(conformal_plugin.__all__) & set(names):
        assert any(f"\n`conformal_plugin.{name}` (" in text for text in pages.values()), name


def test_every_subcommand_is_on_its_page(built: Built) -> None:
    page = built[0]["command-line.md"]
    kinds = [a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction)]
    assert re.findall(r"^## (\w+)$", page, re.M) == list(kinds[0].choices)
    assert page.count("exit codes:") == 1 + len(kinds[0].choices)


def test_signatures_types_examples_and_links_are_markdown(built: Built) -> None:
    core = built[0]["core.md"]
    assert (
        "```python\ncalibrate(\n    scores: Any,\n    labels: Any,\n    alpha: float = 0.05,\n"
        "    *,\n    ignore_index: int = 255,\n    ids: Iterable[Any] | None = None,\n"
        ") -> Calibration\n```"
    ) in core
    assert "**Returns** [`Calibration`](#calibration):" in core
    assert "- [`AlphaError`](errors.md#alphaerror)" in core
    assert "```pycon\n>>> import numpy as np\n" in core
    assert "arXiv 2507.15803, section 3" in core
    assert "[`ScoreCounter.update`]" not in core
    assert "#### ScoreCounter.update" in core
    for name, text in built[0].items():
        assert not re.search(r":(func|class|meth|mod|data|attr):`|(?<!`)``\w", text), name
