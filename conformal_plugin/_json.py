"""JSON that somebody else may have written: whatever is wrong with it is one kind of error."""

from __future__ import annotations

import json
from typing import Any, NoReturn

__all__ = ["parsed"]


def parsed(text: str) -> Any:
    """``json.loads``, of standard JSON alone.

    Raises:
        ValueError: no JSON; nested too deeply; a number of thousands of digits; one of the words
            NaN and Infinity, which JSON has not; or a key twice, of which Python drops the first.
    """
    try:
        return json.loads(text, parse_constant=_refused, object_pairs_hook=_each_once)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refused(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has {twice!r} twice")
    return found
