"""What each image, or each group of images, covers at thresholds that were fixed beforehand."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from conformal_plugin.scores import ScoreGrid

__all__ = ["PLACES", "PlaceCredits", "covered_at_places"]

Array = np.ndarray[Any, Any]

_OCTAVES, _PER_OCTAVE = 16, 64


def _places() -> Array:
    # Multiples of 2**-24, so that 1 - q is exact too.
    small = 2.0 ** -(1 + np.arange(_OCTAVES * _PER_OCTAVE + 1) / _PER_OCTAVE)
    small = np.round(small * 2**24) / 2**24
    places: Array = np.unique(np.concatenate([1.0 - small, small]))[::-1].copy()
    places.flags.writeable = False
    return places


PLACES: Array = _places()
"""Thresholds on ``1 - P``, float64 ``(G,)``, descending from ``1 - 2**-17`` to ``2**-17``.

64 to each halving of the distance to 0 or to 1, whichever is nearer: annotators that are sure have
their threshold near 0, those that give the true class little near 1.
"""


def covered_at_places(counts: Array, grid: ScoreGrid) -> Array:
    """How many pixels are covered at each place, int64 ``(G,)``.

    Args:
        counts: of the image's score codes, ``(grid.size,)``.
        grid: of the scores. Where a code stands for several scores, its pixels count as covered
            where all of these are.
    """
    at_least = np.append(np.cumsum(counts[::-1])[::-1], 0)
    return np.asarray(at_least[_first_codes(grid)])


@functools.cache
def _first_codes(grid: ScoreGrid) -> Array:
    """At each place, the first code all of whose scores are in the set; the size where none is."""
    least = [grid.least_pattern(place) for place in PLACES.tolist()]
    integer = torch.int64 if grid.name == "float64" else torch.int32
    known = [grid.top if pattern is None else pattern for pattern in least]
    patterns = torch.tensor(known, dtype=integer)
    codes, before = (grid.codes_of(each) for each in (patterns, (patterns - 1).clamp(min=0)))
    # Where the pattern before has the same code, that code has scores outside the set.
    whole = torch.where((codes == before) & (patterns > 0), codes + 1, codes).numpy()
    return np.where([pattern is None for pattern in least], grid.size, whole)


class PlaceCredits:
    """The credit of images at the places, by name: integers, so that merging is exact.

    The images of a group share its name, and their credits add up.
    """

    def __init__(self) -> None:
        self._credits: dict[str, Array] = {}
        self._images: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._credits)

    @property
    def names(self) -> Sequence[str]:
        """Of the images or groups, in no order that says anything."""
        return tuple(self._credits)

    def add(self, name: str, credits: Array, images: int = 1) -> None:
        """Add the credits ``(G,)`` of some images of one name."""
        before = self._credits.get(name)
        self._credits[name] = credits if before is None else before + credits
        self._images[name] = self._images.get(name, 0) + images

    def merge(self, other: PlaceCredits, *, numbered_from: int | None = None) -> None:
        """Add the credits of ``other``.

        Args:
            other: of other images; of groups, which may be the same ones.
            numbered_from: where names are numbers in the order of arrival, by how much the other
                ones go up.
        """
        for name in other.names:
            here = name if numbered_from is None else str(int(name) + numbered_from)
            self.add(here, other._credits[name], other._images[name])

    def mean(self, names: Sequence[str]) -> Array:
        """The mean credit of the images of each name, int64 ``(n, G)``, rounded down."""
        images = np.array([self._images[name] for name in names])
        return np.asarray(np.stack([self._credits[name] for name in names]) // images[:, None])

    def state(self) -> dict[str, Array]:
        """The credits as plain arrays, the same whatever the order of merging."""
        names = sorted(self._credits)
        rows = [self._credits[name] for name in names]
        return {
            "place_names": np.array(names, dtype=np.str_),
            "place_images": np.array([self._images[name] for name in names], dtype=np.int64),
            "place_credits": np.array(rows, dtype=np.int64).reshape(len(names), len(PLACES)),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> PlaceCredits:
        """The credits that :meth:`state` returned.

        Raises:
            ValueError: they are of other places.
        """
        credits = cls()
        rows = np.asarray(state["place_credits"], dtype=np.int64)
        if rows.ndim != 2 or rows.shape[1] != len(PLACES):
            raise ValueError("its credits are of other thresholds")
        for name, images, row in zip(
            state["place_names"], state["place_images"], rows, strict=True
        ):
            credits.add(str(name), row, int(images))
        return credits
