"""Which of the arrays of a file is meant."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from pathlib import Path

from conformal_plugin._messages import shortened, shown
from conformal_plugin.errors import SourceFileError

__all__ = ["DEFAULT_KEY", "chosen"]

DEFAULT_KEY = "probs"
"""The array that is read of a map file that holds several, where no other is named."""

_SHOWN = 10


def chosen(names: Collection[str], key: str | None, path: Path, default: str = DEFAULT_KEY) -> str:
    """The name of the array to read: ``key``, the only one, or ``default``.

    Raises:
        SourceFileError: there is none of that name; says which there are.
    """
    if key is None and len(names) == 1:
        return next(iter(names))
    wanted = default if key is None else key
    if wanted in names:
        return wanted
    held = shortened(", ".join(shown(name) for name in islice(names, _SHOWN)) or "none")
    raise SourceFileError(
        f"the file {path} has no array {wanted!r}; it holds {held}: name the right one with key "
        f"(--key on the command line)"
    )
