"""Images that come in groups, as one observation each: the mean of what its images give."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

__all__ = ["by_group"]


def by_group(values: Any, groups: Sequence[str] | None) -> np.ndarray[Any, Any]:
    """Values per image as values per independent unit, in the order of each group's first image.

    Images of one group (a video, a patient, a scene) are alike, and bets on one after the other
    would win several times for the same luck. A group's loss is the mean of its images' losses: in
    [0, 1] as theirs are, with the mean over random images of random groups, every group counting
    alike.

    Args:
        values: ``(images, ...)``; for bets in an order that the values do not influence.
        groups: of each image; None where each is its own, and nothing changes.

    Returns:
        float64 ``(groups, ...)``, or ``values`` where there are no groups.
    """
    rows = np.asarray(values)
    if groups is None:
        return rows
    place: dict[str, int] = {}
    places = np.array([place.setdefault(group, len(place)) for group in groups])
    sums = np.zeros((len(place), *rows.shape[1:]))
    np.add.at(sums, places, rows)
    sizes = np.bincount(places).reshape(-1, *[1] * (rows.ndim - 1))
    # A rounding error must not take the mean of losses above the largest of them.
    return np.asarray(np.minimum(sums / sizes, rows.max()))
