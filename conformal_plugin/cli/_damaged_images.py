"""Images that cannot be used, told together: mending one after the other costs a run each."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from conformal_plugin._atomic import atomic_write_text
from conformal_plugin._messages import shortened
from conformal_plugin.errors import ConformalError, SourceFileError

__all__ = ["UNUSABLE", "DamagedImages"]

UNUSABLE: Final = "unusable.tsv"
"""The file, beside the results, that names all where a message cannot."""
NAMED: Final = 10
"""As many as a message names."""
_LONGEST: Final = 380
"""Characters of a line: a remedy stands at the end of what is said."""
HOPELESS: Final = 100
"""Where none of so many can be used, the folder or an option is wrong, and no image."""


class DamagedImages:
    """Collects why images cannot be used.

    Args:
        what: what is damaged, for the message.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._found: list[tuple[str, ConformalError]] = []
        self._given_up = False

    def add(self, name: str, error: ConformalError) -> None:
        """Take note of one."""
        self._found.append((name, error))

    def hopeless(self, used: int) -> bool:
        """Whether to look at no more of them, which is remembered.

        Args:
            used: how many images could be used.
        """
        self._given_up = not used and len(self._found) >= HOPELESS
        return self._given_up

    def merge(self, other: DamagedImages) -> None:
        """Add what another rank has found."""
        self._found += other._found
        self._given_up = self._given_up or other._given_up

    def refuse(self, total: int, folder: Path) -> None:
        """Name all that were found, if any; more than a message holds in a file.

        Args:
            total: how many images there are.
            folder: where the file is written, or taken away where it says nothing any more.

        Raises:
            ConformalError: as the one that was found, with its id.
            SourceFileError: several were found.
        """
        path = folder / UNUSABLE
        if len(self._found) <= NAMED:
            path.unlink(missing_ok=True)
        if not self._found:
            return
        name, first = self._found[0]
        if len(self._found) == 1:
            raise type(first)(f"image {name}: {first}") from first
        rest = ""
        if self._given_up:
            rest = "as none could, the others were not looked at; "
        if len(self._found) > NAMED:
            atomic_write_text(path, "".join(f"{one}\t{_line(why)}\n" for one, why in self._found))
            rest += f"{path} has all of them, here are the first {NAMED}; "
        lines = "".join(f"\n  {one}: {_line(why)}" for one, why in self._found[:NAMED])
        raise SourceFileError(
            f"{len(self._found)} of {total} {self._what}s cannot be used; {rest}mend them or take "
            f"them off the id list, and run the same command again:{lines}"
        ) from first


def _line(error: ConformalError) -> str:
    return " ".join(shortened(error, _LONGEST).split())
