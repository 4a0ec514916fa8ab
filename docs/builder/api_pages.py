"""The pages of the reference as text: one for each part of the package, the command, the index."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping

from api_docstrings import read
from api_public import PAGES, Reference, collect
from api_writer import API, Writer

__all__ = ["build", "outdated"]

HELP_COLUMNS = 100

_ABOUT_COMMAND = (
    "What `conformal-plugin --help` and the help of each subcommand print; the "
    "[tutorial](../tutorial.md) uses all of them."
)
_ABOUT_REFERENCE = (
    "Built from the docstrings by `python docs/builder`; the suite fails where a page is out of "
    "date. For a way in, read the [tutorial](../tutorial.md)."
)


def reference_page(reference: Reference, page: str) -> str:
    """One page: a list of its names, then each in full, by module."""
    plan, writer = PAGES[page], Writer(reference, page)
    entries = reference.on(page)
    parts = [f"# {plan.title}", plan.about]
    listed = []
    for entry in entries:
        said = " ".join(writer.text(read_safely(entry.docstring)).split()).replace("|", "\\|")
        listed.append(f"| [`{entry.name}`](#{entry.anchor}) | {said} |")
    parts.append("\n".join(["| name | what it is |", "| --- | --- |", *listed]))
    module = None
    for entry in entries:
        if entry.module is not module:
            module = entry.module
            about = (module.__doc__ or "").strip().split("\n\n")[0]
            parts.append(f"## {module.__name__}\n\n{writer.text(about)}")
        parts.append(writer.entry(entry))
    return "\n\n".join(parts) + "\n"


def read_safely(text: str) -> str:
    """The first paragraph; a docstring that cannot be read is reported with its entry."""
    try:
        return read(text).summary
    except ValueError:
        return ""


def command_page() -> str:
    """The help of the command and of each subcommand, as they print it."""
    os.environ.update(COLUMNS=str(HELP_COLUMNS), NO_COLOR="1")
    from conformal_plugin.cli._arguments import build_parser

    parser = build_parser()
    (commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    parts = [
        "# The command",
        _ABOUT_COMMAND,
        f"```text\n{parser.format_help().rstrip()}\n```",
    ]
    for name, one in commands.choices.items():
        parts.append(f"## {name}\n\n```text\n{one.format_help().rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def index_page(reference: Reference) -> str:
    """The way into the pages."""
    lines = [
        "# API reference",
        "",
        _ABOUT_REFERENCE,
        "",
        "| page | holds |",
        "| --- | --- |",
        "| [The command](command-line.md) | `conformal-plugin` and the help of its subcommands |",
    ]
    for page, plan in PAGES.items():
        names = [f"[`{e.name}`]({e.link})" for e in reference.on(page)]
        lines.append(f"| [{plan.title}]({page}.md) | {', '.join(names)} |")
    return "\n".join(lines) + "\n"


def build() -> tuple[dict[str, str], list[str]]:
    """All pages by file name, and what is wrong with the docstrings."""
    reference = collect()
    pages = {f"{page}.md": reference_page(reference, page) for page in PAGES}
    pages["command-line.md"] = command_page()
    pages["README.md"] = index_page(reference)
    return pages, sorted(set(reference.problems))


def comparable(name: str, text: str) -> str:
    """A page without what Python's releases lay out differently: the help's line breaks."""
    if name != "command-line.md":
        return text
    text = re.sub(r"(-\w) [A-Z]+, (--[\w-]+)", r"\1, \2", text)  # how 3.13 writes -o, --out FILE
    return "".join(text.split())


def outdated(pages: Mapping[str, str]) -> list[str]:
    """Names of the pages in docs/api/ that are missing, differ or should not be there."""
    there = {path.name: path.read_text(encoding="utf-8") for path in API.glob("*")}
    return sorted(
        name
        for name in pages.keys() | there.keys()
        if comparable(name, pages.get(name, "")) != comparable(name, there.get(name, ""))
    )
