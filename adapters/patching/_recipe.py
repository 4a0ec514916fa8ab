"""The edit of one script of a host, as data: what goes where, and what must be there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Insertion", "Recipe"]


@dataclass(frozen=True)
class Insertion:
    """Lines that go before or after the one statement that assigns a variable.

    Attributes:
        anchor: the variable; the function that holds the training loop assigns it exactly once.
        where: on which side of that statement the lines go.
        lines: the lines, indented relative to that statement.
        reads: variables that the statement must read, since the lines change them for it.
        may_read: what else it may read; None for anything.
    """

    anchor: str
    where: Literal["after", "before"]
    lines: tuple[str, ...]
    reads: tuple[str, ...] = ()
    may_read: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Recipe:
    r"""The edit of one script.

    Attributes:
        host: the codebase, as a reader knows it.
        script: the file name of the script.
        imports: lines that go after the script's last import at top level.
        insertions: lines that go into the function that holds the training loop.
        needs: names that must be bound in the script: those that the inserted lines use, and those
            that tell this script from another host's of the same file name.
        lacks: names that must not be bound there.
        traps: pairs of a regular expression, searched in each line of the script, and what to do
            where it is found. A named group holds what the config has under that name: a line
            found by ``nclass=(?P<nclass>\d+)`` is a trap only where the config's differs.
        sample: what the loop's head calls the elements of each unlabelled sample, ``"_"`` for any
            name; None where that is left open.
    """

    host: str
    script: str
    imports: tuple[str, ...]
    insertions: tuple[Insertion, ...]
    needs: tuple[str, ...]
    lacks: tuple[str, ...] = ()
    traps: tuple[tuple[str, str], ...] = ()
    sample: tuple[str, ...] | None = None
