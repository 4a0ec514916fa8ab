"""What a check says, and the list of all checks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from conformal_plugin.doctor._case import Case
from conformal_plugin.doctor._id_lines import NotKnownError

__all__ = [
    "CHECKS",
    "Check",
    "Finding",
    "Level",
    "check",
    "diagnose",
    "error",
    "ok",
    "some",
    "warning",
]

Level = Literal["ok", "not made", "warning", "error"]

_SHOWN = 5


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Attributes:
        level: how bad it is. ``"error"``: the run fails, or trains on something else than meant.
        text: what was found.
        remedy: what to do; empty where ``text`` says it, or where there is nothing to do.
        check: the name of the check.
    """

    level: Level
    text: str
    remedy: str = ""
    check: str = ""


Check = Callable[[Case], Iterable[Finding]]
"""What a check is."""

CHECKS: list[Check] = []
"""Every function decorated with :func:`check` in a module that was imported."""


def check(function: Check) -> Check:
    """Have a function run as a check; its name is the check's, its findings are printed."""
    CHECKS.append(function)
    return function


def ok(text: str) -> Finding:
    """A finding that nothing needs to be done about."""
    return Finding("ok", text)


def warning(text: str, remedy: str = "") -> Finding:
    """A finding that the user must know."""
    return Finding("warning", text, remedy)


def error(text: str, remedy: str = "") -> Finding:
    """A finding that must be repaired before the run starts."""
    return Finding("error", text, remedy)


def diagnose(case: Case, checks: Sequence[Check]) -> list[Finding]:
    """Make every check; one that lacks its material is listed as not made, with the reason."""
    findings = []
    for one in checks:
        name = one.__name__.replace("_", " ")
        try:
            made = list(one(case))
        except NotKnownError as lacking:
            made = [Finding("not made", str(lacking))]
        findings += [Finding(f.level, f.text, f.remedy, name) for f in made]
    return findings


def some(items: Iterable[object]) -> str:
    """The first few of a list, for a message."""
    shown = list(map(str, items))
    return ", ".join(shown[:_SHOWN]) + (", ..." if len(shown) > _SHOWN else "")
