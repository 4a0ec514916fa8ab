"""Reads docstrings of this project into parts, and finds where one and its signature disagree."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

__all__ = ["ITEMS", "SECTIONS", "Docstring", "Item", "disagreements", "read"]

SECTIONS = ("Args", "Attributes", "Returns", "Yields", "Raises", "Warns", "Example")
"""The headings that a docstring may have, in the order in which they are shown."""

ITEMS = ("Args", "Attributes", "Raises", "Warns")
"""Those whose lines are ``NAME, NAME: text``."""

_HEADING = re.compile(rf"({'|'.join(SECTIONS)}):")
_WRAPPED_NAMES = re.compile(r"^((?:\w+, )*\w+,)\n *(?=\w+[,:])", re.MULTILINE)
_ITEM = re.compile(r"((?:[*]{0,2}[\w.]+)(?:, [*]{0,2}[\w.]+)*):(?: (.*))?")


@dataclass
class Item:
    """What is said of one name, or of several together."""

    names: tuple[str, ...]
    text: str


@dataclass
class Docstring:
    """A docstring in parts.

    Attributes:
        text: what stands before the first section.
        items: the lines of the sections in :data:`ITEMS`.
        prose: the text of the other sections.
    """

    text: str = ""
    items: dict[str, list[Item]] = field(default_factory=dict)
    prose: dict[str, str] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The first paragraph."""
        return self.text.split("\n\n")[0]


def read(docstring: str) -> Docstring:
    """Take a docstring apart.

    Raises:
        ValueError: a line of a section in :data:`ITEMS` is neither an item nor indented below one.
    """
    parts: dict[str, list[str]] = {"": []}
    section = ""
    for line in inspect.cleandoc(docstring).splitlines():
        heading = _HEADING.fullmatch(line)
        if heading:
            section = heading[1]
            parts[section] = []
        else:
            parts[section].append(line)
    result = Docstring(text="\n".join(parts.pop("")).strip())
    for name, lines in parts.items():
        body = inspect.cleandoc("\n" + "\n".join(lines)).strip()
        if name in ITEMS:
            result.items[name] = list(_items(body))
        else:
            result.prose[name] = body
    return result


def _items(body: str) -> Iterable[Item]:
    item = None
    while _WRAPPED_NAMES.search(body):
        body = _WRAPPED_NAMES.sub(r"\1 ", body)
    for line in body.splitlines():
        start = _ITEM.fullmatch(line)
        if start:
            if item:
                yield item
            item = Item(tuple(start[1].split(", ")), start[2] or "")
        elif item and (line.startswith("    ") or not line):
            item.text = f"{item.text}\n{line.strip()}".strip()
        else:
            raise ValueError(f"expected NAME: text or an indented line, got {line!r}")
    if item:
        yield item


def disagreements(docstring: Docstring, parameters: Iterable[str]) -> list[str]:
    """What the section Args says of other parameters than there are.

    Args:
        docstring: of a function, or of a class.
        parameters: the names in its signature, without ``self``.

    Returns:
        A sentence for each name on one side alone. A docstring without the section says nothing
        that could be wrong.
    """
    if "Args" not in docstring.items:
        return []
    said = [name.lstrip("*") for item in docstring.items["Args"] for name in item.names]
    given = list(parameters)
    found = [f"Args names {name}, which the signature lacks" for name in said if name not in given]
    found += [f"Args says nothing of {name}" for name in given if name not in said]
    found += [f"Args names {name} twice" for name in sorted(set(said)) if said.count(name) > 1]
    return found
