"""Images that cannot be used, told together: mending one after the other costs a run each."""

from __future__ import annotations

from typing import Final

from conformal_plugin._messages import shortened
from conformal_plugin.errors import ConformalError, SourceFileError

__all__ = ["DamagedImages"]

MOST: Final = 20
"""After so many it is the folder or an option that is wrong, and no image."""


class DamagedImages:
    """Collects why images cannot be used.

    Args:
        what: what is damaged, for the message.
        total: how many are looked at.
    """

    def __init__(self, what: str, total: int) -> None:
        self._what = what
        self._total = total
        self._found: list[tuple[str, ConformalError]] = []

    def add(self, name: str, error: ConformalError) -> None:
        """Take note of one.

        Raises:
            SourceFileError: it is one too many.
        """
        self._found.append((name, error))
        if len(self._found) == MOST:
            self.refuse()

    def refuse(self) -> None:
        """Name all that were found, if any.

        Raises:
            ConformalError: as the one that was found, with its id.
            SourceFileError: several were found.
        """
        if not self._found:
            return
        name, first = self._found[0]
        if len(self._found) == 1:
            raise type(first)(f"image {name}: {first}") from first
        lines = "".join(f"\n  {name}: {shortened(error, 200)}" for name, error in self._found)
        raise SourceFileError(
            f"{len(self._found)} of {self._total} {self._what}s cannot be used (no more than "
            f"{MOST} are looked for); mend them or take them off the id list, and run the same "
            f"command again:{lines}"
        ) from first
