"""Readers of the user's own: which function reads files whose names end in what."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from conformal_plugin.errors import InputTypeError, OptionError

__all__ = [
    "FileReader",
    "RegisteredReader",
    "reader_of",
    "register_reader",
    "suffix_of",
    "suffixes",
    "suffixes_in",
]

FileReader: TypeAlias = Callable[[Path, str], Any]
"""``(path, what) -> array``, ``what`` being ``"map"``, ``"label"`` or ``"photo"``."""

_registered: dict[str, FileReader] = {}


class RegisteredReader:
    """A reader that is in use; as a context manager, until the block ends.

    Attributes:
        suffixes: how the names of its files end.
    """

    def __init__(self, read: FileReader, suffixes: Sequence[str]) -> None:
        self.suffixes = tuple(suffixes)
        self._before = {suffix: _registered.get(suffix) for suffix in self.suffixes}
        _registered.update(dict.fromkeys(self.suffixes, read))

    def __enter__(self) -> RegisteredReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.forget()

    def forget(self) -> None:
        """Read these files as before."""
        for suffix, read in self._before.items():
            if read is None:
                _registered.pop(suffix, None)
            else:
                _registered[suffix] = read


def register_reader(read: FileReader, suffixes: Sequence[str] | None = None) -> RegisteredReader:
    """Have all maps, labels and photos with some suffixes read by a function of yours.

    Everything in this process that reads files then does so: ``read_map``, ``read_label``,
    ``read_photo`` and what is built on them. A suffix that is read anyhow is read by yours.
    On the command line: ``--reader module:function``.

    Args:
        read: ``read(path, what)``, called in threads. ``what`` says what is wanted: a ``"map"`` of
            class scores ``(K, H, W)`` or ``(K, D, H, W)``, a ``"label"`` of class indices
            ``(H, W)`` or ``(D, H, W)``, or a ``"photo"`` ``(H, W, 3)`` or ``(H, W)`` uint8. What
            it raises becomes an error that names the file.
        suffixes: how the names of the files end, such as ``(".mha",)``; None for the function's own
            attribute ``suffixes``.

    Returns:
        What takes it out of use again, at the end of a ``with`` or by ``.forget()``.

    Raises:
        InputTypeError: not callable.
        OptionError: no suffix, or one that does not begin with a dot.

    Example:
        >>> import numpy as np
        >>> def from_text(path, what):
        ...     return np.loadtxt(path, dtype=int if what == "label" else float)
        >>> with register_reader(from_text, (".txt",)) as reader:  # or without `with`
        ...     reader.suffixes
        ('.txt',)
    """
    if not callable(read):
        raise InputTypeError(
            f"a reader must be callable as read(path, what), got {type(read).__name__}"
        )
    given: Any = getattr(read, "suffixes", ()) if suffixes is None else suffixes
    named = [given] if isinstance(given, str) else list(given)
    if not named or not all(isinstance(s, str) and len(s) > 1 and s[0] == "." for s in named):
        raise OptionError(
            f"a reader needs the suffixes of its files, each with its dot, got {given!r}; give the "
            f"function an attribute: read.suffixes = ('.mha',)"
        )
    return RegisteredReader(read, named)


def suffixes(usual: Sequence[str]) -> tuple[str, ...]:
    """The suffixes that are read now: the usual ones, and those of registered readers."""
    return tuple(dict.fromkeys([*usual, *_registered]))


def suffixes_in(
    folder: str | os.PathLike[str], usual: Sequence[str], others: Sequence[str]
) -> tuple[str, ...]:
    """The suffixes of the files in a folder and below: the usual ones if any has one, else others.

    A folder of PNG labels may hold arrays of other things; one of arrays may hold no PNG.
    """
    known = suffixes(usual)
    for _, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if any(name.endswith(known) and not name.startswith(".") for name in names):
            return known
    return suffixes([*usual, *others])


def suffix_of(path: Path, usual: Sequence[str]) -> str | None:
    """The longest suffix that a name ends in, of :func:`suffixes`; None for none of them."""
    fitting = [suffix for suffix in suffixes(usual) if path.name.endswith(suffix)]
    return max(fitting, key=len, default=None)


def reader_of(path: Path) -> FileReader | None:
    """The registered reader of a file, by the longest suffix that fits."""
    suffix = suffix_of(path, ())
    return None if suffix is None else _registered[suffix]
