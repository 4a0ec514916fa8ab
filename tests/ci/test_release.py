"""A release says one number everywhere, and what the index shows of the package is true."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

import conformal_plugin

yaml = pytest.importorskip("yaml")

NUMBER = r"\d+\.\d+\.\d+"


@pytest.fixture
def metadata(root: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(root / "setup.cfg", encoding="utf-8")
    return parser


@pytest.fixture
def changelog(root: Path) -> str:
    return (root / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.fixture
def citation(root: Path) -> dict:
    return yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))


def test_the_numbers_agree(metadata, changelog, citation) -> None:
    version = metadata["metadata"]["version"]
    assert re.fullmatch(NUMBER, version)
    assert conformal_plugin.__version__ == version
    assert citation["version"] == version
    released = re.findall(rf"^## \[({NUMBER})\]", changelog, re.M)
    if released:
        assert released[0] == version
        assert citation["date-released"].isoformat() in changelog
    else:  # before the first
        assert f"What {version}, the first release, will hold." in changelog
        assert "date-released" not in citation


def test_the_changelog_keeps_its_form(changelog) -> None:
    headings = re.findall("^## (.*)$", changelog, re.M)
    assert headings[0] == "[Unreleased]"
    for heading in headings[1:]:
        assert re.fullmatch(rf"\[{NUMBER}\] - \d{{4}}-\d\d-\d\d", heading)
    numbers = [
        tuple(map(int, n.split("."))) for n in re.findall(rf"^## \[({NUMBER})", changelog, re.M)
    ]
    assert numbers == sorted(numbers, reverse=True)
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert set(re.findall("^### (.*)$", changelog, re.M)) <= kinds


def test_the_citation_is_that_of_the_package(metadata, citation) -> None:
    about = metadata["metadata"]
    assert citation["cff-version"] == "1.2.0"
    assert citation["title"] == about["name"]
    assert citation["license"] == about["license"]
    assert citation["abstract"].rstrip(".") == about["description"]
    assert citation["authors"] == [{"name": about["author"]}]
    assert citation["keywords"] == about["keywords"].split(", ")
    (paper,) = citation["references"]
    assert "2507.15803" in paper["url"]


def test_the_pythons_that_are_named_are_those_of_the_matrix(metadata, root) -> None:
    named = re.findall(r"Python :: (3\.\d+)$", metadata["metadata"]["classifiers"], re.M)
    matrix = set(re.findall(r'Row\(\s*"([\d.]+)"', (root / ".ci" / "matrix").read_text("utf-8")))
    assert set(named) == matrix
    assert metadata["options"]["python_requires"] == f">={named[0]}"


def test_the_page_names_what_there_is(root) -> None:
    page = (root / "docs" / "releasing.md").read_text(encoding="utf-8")
    paths = re.findall(r"`(?:python3 |bash )?((?:tests|\.ci|conformal_plugin)/[\w./]+)`", page)
    assert len(paths) >= 5
    for path in [*paths, "CITATION.cff", "CHANGELOG.md"]:
        assert (root / path).exists(), path


def test_every_folder_of_the_package_is_installed(metadata, root) -> None:
    folders = [
        *((root / "conformal_plugin").rglob("__init__.py")),
        *((root / "adapters").rglob("__init__.py")),
    ]
    names = [".".join(path.parent.relative_to(root).parts) for path in folders]
    there = {name if name[0] == "c" else f"conformal_plugin.{name}" for name in names}
    assert set(metadata["options"]["packages"].split()) == there
