"""Signatures, types and constants as they are written in the source."""

from __future__ import annotations

import ast
import enum
import inspect
import itertools
import re
import typing
from types import ModuleType
from typing import Any

__all__ = [
    "annotation",
    "code",
    "constant_docstring",
    "constant_value",
    "marked",
    "parameter",
    "wrapped",
]

WIDTH = 96


def annotation(given: Any, owner: Any) -> str:
    """A type as it is written in the source; a method's own type variable as ``Self``."""
    if given is inspect.Parameter.empty:
        return ""
    text = given if isinstance(given, str) else inspect.formatannotation(given)
    text = re.sub(r"ForwardRef\('(.*?)'[^)]*\)", r"\1", text)  # in what hypothesis makes of a type
    names = getattr(owner, "__globals__", {})
    return re.sub(
        r"\b_\w+\b",
        lambda m: "Self" if isinstance(names.get(m[0]), typing.TypeVar) else m[0],
        text,
    )


def parameter(one: inspect.Parameter | str, owner: Any) -> str:
    """A parameter as it is written in a signature."""
    if isinstance(one, str):
        return one
    kind = annotation(one.annotation, owner)
    stars = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
    text = f"{stars}{one.name}" + (f": {kind}" if kind else "")
    if one.default is one.empty:
        return text
    return f"{text} = {_default(one.default)}" if kind else f"{text}={_default(one.default)}"


def _default(value: Any) -> str:
    if isinstance(value, enum.Enum) or repr(value).startswith("<"):
        return "..."
    return repr(value)


def marked(parameters: list[inspect.Parameter]) -> list[inspect.Parameter | str]:
    """The parameters with the star before those that go by keyword alone."""
    marked: list[inspect.Parameter | str] = []
    for one in parameters:
        before = {p.kind for p in marked if not isinstance(p, str)}
        first = one.kind is one.KEYWORD_ONLY and "*" not in marked
        if first and one.VAR_POSITIONAL not in before:
            marked.append("*")
        marked.append(one)
    return marked


def wrapped(name: str, parameters: list[str], arrow: str) -> str:
    """A signature on one line, or with a line for each parameter."""
    line = f"{name}({', '.join(parameters)}){arrow}"
    if len(line) <= WIDTH:
        return line
    return "\n".join([f"{name}(", *(f"    {one}," for one in parameters), f"){arrow}"])


def code(text: str) -> str:
    """A block of Python."""
    return f"```python\n{text}\n```"


def constant_docstring(module: ModuleType, name: str) -> str:
    """The string that stands below the assignment of a name."""
    body = ast.parse(inspect.getsource(module)).body
    for statement, below in itertools.pairwise(body):
        targets = getattr(statement, "targets", [getattr(statement, "target", None)])
        if any(isinstance(t, ast.Name) and t.id == name for t in targets):
            literal = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            if literal and isinstance(below.value.value, str):
                return inspect.cleandoc(below.value.value)
    return ""


def constant_value(value: Any) -> str:
    """A short value as it is, a long one by its first entries; sets in order."""
    if isinstance(value, (set, frozenset)):
        value = sorted(value)
    text = repr(value)
    if len(text) <= WIDTH - 20 and " object at " not in text and "<function" not in text:
        return re.sub(r"\b(?:typing|collections\.abc)\.", "", text)
    names = ", ".join(map(repr, value)) if isinstance(value, dict) else ""
    if names and len(names) <= WIDTH:
        return f"{{...}}  # of {names}"
    return f"...  # {len(value)} entries" if hasattr(value, "__len__") else "..."
