"""Lines of places for a path: two thresholds and a cap each, from strict to loose."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["line", "rescored"]

_Place = tuple[float, float, float]


def line(first: _Place, *ways: tuple[int, _Place]) -> np.ndarray[Any, Any]:
    """Places ``(G, 3)`` from one threshold pair and cap to the next, in so many steps each.

    Background thresholds rise by factors, foreground thresholds and caps evenly.
    """
    places, here = [np.array([first])], first
    for steps, there in ways:
        t = np.arange(1, steps + 1)[:, None] / steps
        low, high = np.array(here), np.array(there)
        way = low + (high - low) * t
        way[:, :1] = low[:1] * (high[:1] / low[:1]) ** t
        places.append(way)
        here = there
    joined: np.ndarray[Any, Any] = np.concatenate(places).round(6)
    return joined


def rescored(
    places: np.ndarray[Any, Any], *, sharper: float = 1.0, against_background: float = 1.0
) -> np.ndarray[Any, Any]:
    """The same places for an annotator that says the same with other scores.

    If thresholds in (0, 1) let in what is right in the scores of one annotator, they let in the
    same at these where another's log odds are so many times as large, and its background's odds so
    many times smaller.

    Args:
        places: ``(G, 3)``, of :func:`line`.
        sharper: factor of all log odds.
        against_background: factor of an object's odds, and divisor of the background's.
    """
    moved: np.ndarray[Any, Any] = places.copy()
    for column, factor in ((0, against_background), (1, 1.0 / against_background)):
        odds = factor * (places[:, column] / (1.0 - places[:, column])) ** sharper
        moved[:, column] = odds / (1.0 + odds)
    below_one = 1.0 - 1e-9
    moved[:, :2] = np.minimum(moved[:, :2].round(9), below_one)
    return moved
