"""What the fields of a calibration's JSON may hold; anything else is damage, told by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from conformal_plugin._choices import RULES
from conformal_plugin._messages import shown
from conformal_plugin.scores import LabelMap

__all__ = ["Fields"]

_LARGEST: Final = 2**63 - 1
"""What an int64 holds."""
_LONGEST: Final = 10_000
"""Characters of a text; the longest statement of a promise has some hundred."""


class Fields:
    """The fields of a JSON object, each read as what it must be.

    Args:
        content: the object.

    Every method takes the name of a field, and a default where it may be missing.

    Raises:
        KeyError: a field without a default is missing.
        ValueError: a field holds something else; names it.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content

    def __contains__(self, name: str) -> bool:
        return self._content.get(name) is not None

    def real(self, name: str, low: float, high: float, *default: float | None) -> Any:
        """A finite number in the closed interval; None where that is the default."""
        value = self._given(name, default)
        if value is None and default == (None,):
            return None
        if not _is_number(value) or not low <= value <= high:
            raise _expected(name, f"a number in {low:g} ... {high:g}", value)
        return float(value)

    def share(self, name: str) -> float:
        """A number strictly between 0 and 1."""
        value = self._content[name]
        if not _is_number(value) or not 0 < value < 1:
            raise _expected(name, "a number strictly between 0 and 1", value)
        return float(value)

    def whole(self, name: str, *default: int | None, low: int = 0, high: int = _LARGEST) -> Any:
        """A whole number; None where that is the default."""
        value = self._given(name, default)
        if value is None and default == (None,):
            return None
        return _whole(name, value, low, high)

    def wholes(self, name: str, *default: Sequence[int], high: int = _LARGEST) -> list[int]:
        """A list of whole numbers from zero."""
        values = self._given(name, default)
        if not isinstance(values, (list, tuple)):
            raise _expected(name, "a list", values)
        return [_whole(name, value, 0, high) for value in values]

    def text(self, name: str) -> str:
        """A text."""
        value = self._content[name]
        if not isinstance(value, str) or len(value) > _LONGEST:
            raise _expected(name, f"a text of at most {_LONGEST} characters", value)
        return value

    def truth(self, name: str) -> bool:
        """True or false."""
        value = self._content[name]
        if not isinstance(value, bool):
            raise _expected(name, "true or false", value)
        return value

    def rule(self, name: str) -> str | None:
        """How labels are picked, where that is said."""
        value = self._content.get(name)
        if value is not None and value not in RULES:
            raise _expected(name, f"one of {', '.join(RULES)}", value)
        return value

    def label_map(self, name: str) -> LabelMap | None:
        """What the values of masks mean, where that is said."""
        return LabelMap.of(self.text(name)) if self._content.get(name) is not None else None

    def one_of(self, name: str, choices: Sequence[str], default: str) -> str:
        """One of some names."""
        value = self._content.get(name, default)
        if value not in choices:
            raise _expected(name, f"one of {', '.join(choices)}", value)
        return str(value)

    def thresholds(self, name: str, num_classes: int) -> float | np.ndarray[Any, Any]:
        """One threshold, or one per class; infinite ones are texts."""
        value = self._content[name]
        if not isinstance(value, list):
            return _threshold(name, value)
        if len(value) != num_classes:
            raise _expected(name, f"one threshold for each of {num_classes} classes", value)
        return np.array([_threshold(name, one) for one in value], dtype=np.float64)

    def table(self, name: str, rows: int, num_classes: int) -> np.ndarray[Any, Any]:
        """Rows of one threshold per class."""
        value = self._content[name]
        if not isinstance(value, list) or len(value) != rows:
            raise _expected(name, f"{rows} lists of thresholds", value)
        numbered = {f"row {number} of {name}": row for number, row in enumerate(value)}
        if not all(isinstance(row, list) for row in value):
            raise _expected(name, f"{rows} lists of thresholds", value)
        inside = Fields(numbered)
        return np.stack([inside.thresholds(row, num_classes) for row in numbered])

    def part(self, name: str) -> Fields:
        """An object inside."""
        value = self._content[name]
        if not isinstance(value, Mapping):
            raise _expected(name, "an object", value)
        return Fields(value)

    def _given(self, name: str, default: Sequence[Any]) -> Any:
        return self._content.get(name, default[0]) if default else self._content[name]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _whole(name: str, value: Any, low: int, high: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise _expected(name, f"a whole number in {low} ... {high}", value)
    return value


def _threshold(name: str, value: Any) -> float:
    if value in ("inf", "-inf"):
        return float(value)
    if value == "nan":
        raise ValueError(f"{name} is NaN")
    # A double, to the last digit that JSON can write.
    if not _is_number(value) or not abs(value) <= np.finfo(np.float64).max:
        raise _expected(name, 'a number, "inf" or "-inf"', value)
    return float(value)


def _expected(name: str, what: str, value: Any) -> ValueError:
    return ValueError(f"{name} must be {what}, got {shown(value)}")
