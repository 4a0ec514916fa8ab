"""Values and texts of unknown size, as short as a message can be."""

from __future__ import annotations

import reprlib
import unicodedata
from typing import Any

__all__ = ["one_line", "shortened", "shown"]

_NOT_IN_LINES = ("Cc", "Cs", "Zl", "Zp")

_LONGEST = 300
"""Characters of a value or of another library's message; a line or three on a terminal."""


class _Bounded(reprlib.Repr):
    """``repr`` that looks at the beginning of a value alone, however large or deep it is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxstring = self.maxother = 120

    def repr_int(self, x: int, level: int) -> str:
        """Python refuses to write numbers of thousands of digits."""
        return repr(x) if x.bit_length() < 256 else f"a whole number of {x.bit_length()} bits"


_bounded = _Bounded()


def shown(value: Any) -> str:
    """``repr(value)`` for a message: bounded in length, and in time whatever the value holds."""
    return shortened(_bounded.repr(value))


def shortened(text: object, longest: int = _LONGEST) -> str:
    """A text in one piece, or its beginning and how long it was."""
    whole = str(text)
    if len(whole) <= longest:
        return whole
    return f"{whole[:longest]}... ({len(whole)} characters)"


def one_line(text: str) -> bool:
    """Whether a name can stand in a line of a list, a page or a terminal.

    Control characters, ends of lines and lone surrogates cannot; the invisible joiners of Persian
    and of emoji, and spaces of all widths, can.
    """
    return text.isprintable() or not any(
        unicodedata.category(letter) in _NOT_IN_LINES for letter in text
    )
