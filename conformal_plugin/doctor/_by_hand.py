"""Whether a script that was edited by hand calls what the conformal labels need."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["ByHand", "read_by_hand"]

_PACKAGE = "conformal_plugin"
_LOOP_CALLS = ("align", "watch")


@dataclass(frozen=True)
class ByHand:
    """What of this package a script uses.

    Attributes:
        used: the script's name for what its conformal object is.
        kind: the name in this package, ``UniMatchLoop`` or ``ConformalSupervision`` say.
        missing: the calls that it lacks, as they would be written; empty where it has all.
    """

    used: str
    kind: str
    missing: tuple[str, ...]


def read_by_hand(source: bytes) -> ByHand | None:
    """What a script does with this package; None where it makes no object of its own of it.

    A loop object needs its data set aligned, its loader watched, and its losses or its labels
    passed through it; a ``ConformalSupervision`` has to be called.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    imported = _imported(tree)
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
            continue
        made_by = _last(node.value.func)
        for target in node.targets:
            name = _last(target)
            if made_by in imported and name:
                missing = _missing(tree, name, imported[made_by])
                if missing is not None:
                    return ByHand(made_by, imported[made_by], tuple(missing))
    return None


def _imported(tree: ast.Module) -> dict[str, str]:
    """The script's names for what it imports from this package, with the names there."""
    return {
        alias.asname or alias.name: alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == _PACKAGE
        for alias in node.names
    }


def _missing(tree: ast.Module, name: str, kind: str) -> Sequence[str] | None:
    """The calls that an object lacks; None where it is none that supervises."""
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    methods = {f.attr for f in calls if isinstance(f, ast.Attribute) and _last(f.value) == name}
    called = any(_last(f) == name for f in calls)
    if kind.endswith("Loop"):
        lacking = [f"{name}.{method}(...)" for method in _LOOP_CALLS if method not in methods]
        return lacking if called or "source" in methods else [*lacking, f"{name}(losses, preds)"]
    if kind == "ConformalSupervision":
        return [] if called else [f"{name}(logits, pseudo, epoch=epoch)"]
    return None


def _last(node: ast.AST) -> str:
    """`c` of `a.b.c`; empty for what is no name."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""
