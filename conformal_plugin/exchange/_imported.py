"""Beside imported labels: which of their photos were chosen by their scores, and which are back."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from conformal_plugin._atomic import atomic_write_text
from conformal_plugin._json import parsed

__all__ = ["IMPORTED", "Imported"]

IMPORTED: Final = "imported.json"
"""The file's name."""

_FORMAT: Final = "conformal-plugin imported labels"
_KEYS: Final = ("chosen_by_scores", "imported", "undecided")


@dataclass(frozen=True)
class Imported:
    """What is known of the labels of a folder, over all imports.

    Attributes:
        chosen: ids of photos that were sent to be corrected and not drawn at random.
        taken: ids of photos whose labels are here, in the order in which they came.
        undecided: those of them with pixels that nobody has decided.
    """

    chosen: frozenset[str]
    taken: tuple[str, ...]
    undecided: frozenset[str]

    @classmethod
    def read(cls, folder: Path) -> Imported:
        """What earlier imports have noted; nothing where there was none."""
        try:
            content: Any = parsed((folder / IMPORTED).read_text(encoding="utf-8"))
            chosen, taken, undecided = (content[key] for key in _KEYS)
            return cls(
                frozenset(map(str, chosen)), tuple(map(str, taken)), frozenset(map(str, undecided))
            )
        except (OSError, ValueError, KeyError, TypeError):  # none, or not of this command
            return cls(frozenset(), (), frozenset())

    def write(self, folder: Path) -> None:
        """Write it beside the labels."""
        noted = (sorted(self.chosen), self.taken, sorted(self.undecided))
        content = {"format": _FORMAT, "version": 1, **dict(zip(_KEYS, noted))}
        atomic_write_text(folder / IMPORTED, json.dumps(content, indent=1) + "\n")

    def with_sent(self, sent: Iterable[str], drawn: Iterable[str]) -> Imported:
        """With photos that were sent, some of them drawn at random."""
        chosen = (self.chosen | frozenset(sent)) - frozenset(drawn)
        return Imported(chosen, self.taken, self.undecided)

    def with_taken(self, names: Collection[str], undecided: Collection[str]) -> Imported:
        """With photos whose labels have come, some of them with undecided pixels."""
        taken = tuple(dict.fromkeys((*self.taken, *names)))
        return Imported(
            self.chosen, taken, self.undecided - frozenset(names) | frozenset(undecided)
        )
