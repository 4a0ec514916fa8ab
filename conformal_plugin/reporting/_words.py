"""Shares, thresholds, large numbers and lines of tables as the words of a page."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformal_plugin.calibration import Calibration

__all__ = ["Card", "Row", "percent", "threshold_of", "with_names"]


@dataclass(frozen=True)
class Card:
    """A number that is shown large."""

    name: str
    value: str
    text: str


@dataclass(frozen=True)
class Row:
    """A line of a table: what it is about, and its cells."""

    heading: str
    cells: Sequence[str]


def threshold_of(calibration: Calibration) -> str:
    """The threshold of a calibration, or the range of those per class."""
    thresholds = np.atleast_1d(np.asarray(calibration.qhat, dtype=float))
    if len(thresholds) == 1:
        value = f"{thresholds[0]:.6g}"
    else:
        value = f"{thresholds.min():.6g} to {thresholds.max():.6g} over {len(thresholds)} classes"
    remark = "" if calibration.informative else "; 1 or more puts a class into every set"
    return f"q-hat {value} on 1 - P(class){remark}"


def percent(share: Any) -> str:
    """A share in percent."""
    return "none" if math.isnan(share) else f"{100 * share:.1f} %"


def with_names(text: str, names: Sequence[str]) -> str:
    """``text``, each class that it calls by its number with its name behind that."""

    def named(found: re.Match[str]) -> str:
        number = int(found[1])
        name = names[number] if number < len(names) else found[0]
        return found[0] if name.lower() == found[0].lower() else f"{found[0]} ({name})"

    return re.sub(r"\b[Cc]lass (\d+)\b", named, text)
