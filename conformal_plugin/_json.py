"""JSON that somebody else may have written: whatever is wrong with it is one kind of error."""

from __future__ import annotations

import json
from typing import Any, NoReturn

__all__ = ["parsed"]


def parsed(text: str) -> Any:
    """``json.loads``, of standard JSON alone.

    Raises:
        ValueError: no JSON; nested too deeply; a number of thousands of digits; or one of the
            words NaN and Infinity, which JSON has not.
    """
    try:
        return json.loads(text, parse_constant=_refused)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _refused(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number of JSON")
