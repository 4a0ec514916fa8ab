"""Every link between the pages leads to a file that is there, and to a heading that it has."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("", "docs", "docs/api", "examples")
PAGES = sorted(page for folder in FOLDERS for page in (ROOT / folder).glob("*.md"))
WEB = ("https://", "http://", "mailto:")


def without_code(text: str) -> str:
    """The page without blocks and spans of code, whose brackets are no links."""
    text = re.sub(r"^( *)(```+)[^\n]*\n.*?^\1\2 *$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "`code`", text, flags=re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Those that the web host gives the headings; the second of a kind ends in ``-1``."""
    text = re.sub(r"^( *)(```+).*?^\1\2 *$", "", page.read_text("utf-8"), flags=re.DOTALL | re.M)
    seen: Counter[str] = Counter()
    found = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *#*$", text, re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        anchor = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found.add(f"{anchor}-{seen[anchor]}" if seen[anchor] else anchor)
        seen[anchor] += 1
    return found


def broken(page: Path) -> list[str]:
    """The links of a page that lead nowhere in this project."""
    found = []
    for target in re.findall(
        r"\]\(([^)\s]+)(?: \"[^\"]*\")?\)", without_code(page.read_text("utf-8"))
    ):
        if target.startswith(WEB):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        inside = path == ROOT or ROOT in path.parents
        if not inside or not path.exists():
            found.append(f"{target}: no such file")
        elif anchor and (path.suffix != ".md" or anchor not in anchors(path)):
            found.append(f"{target}: no such heading")
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken(page) == []


def test_the_pages_are_found() -> None:
    names = {str(page.relative_to(ROOT)) for page in PAGES}
    assert {"README.md", "CONTRIBUTING.md", "examples/unimatch_fork.md"} <= names
    assert {"docs/tutorial.md", "docs/faq.md", "docs/api/README.md", "docs/README.md"} <= names


def test_every_page_is_in_the_index_of_the_docs() -> None:
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    for page in (ROOT / "docs").glob("*.md"):
        assert page.name == "README.md" or f"]({page.name})" in index, page.name


def test_broken_links_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    page = tmp_path / "page.md"
    (tmp_path / "other.md").write_text("# A [heading](page.md), `code`!\n\n## Twice\n\n## Twice\n")
    page.write_text(
        "[a](other.md#a-heading-code) [b](other.md#twice-1) [c](#here) `[x](no.md)`\n"
        "```text\n[y](no.md)\n# no heading\n```\n# Here\n[d](https://example.org/x)\n"
        "[e](none.md) [f](other.md#twice-2) [g](#no-heading) [h](../outside.md)\n"
    )
    assert broken(page) == [
        "none.md: no such file",
        "other.md#twice-2: no such heading",
        "#no-heading: no such heading",
        "../outside.md: no such file",
    ]
