"""JSON: what somebody else may have written, and numbers that it does not have."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, NoReturn

__all__ = ["parsed", "plain"]


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


def plain(value: Any) -> Any:
    """What ``json.dumps`` takes: infinite numbers as words, NaN as null, arrays as lists."""
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if hasattr(value, "tolist"):  # arrays, and numbers of NumPy
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None if math.isnan(value) else str(value)
    return value


def _refused(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"it has {twice!r} twice")
    return found
