"""What a calibration has counted, as rows of integers.

A row runs over the score codes of a ``ScoreGrid``: for each code, how much credit (``_units.py``)
the images gain when q-hat grows just enough to let it into the sets. q-hat is read off by summing
from the largest score down. Where classes have thresholds of their own there is a row per group of
classes, and last the row of all.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch

from conformal_plugin.calibration._span import Span, index_from_top
from conformal_plugin.calibration._units import Totals, Unit, capped_lcm
from conformal_plugin.scores import ScoreGrid, TrueScores, as_tensor

__all__ = ["Gains", "ScoreRows"]

Gains = dict[int, np.ndarray[Any, Any]]
"""By row, how much credit each bin adds."""

_PART_PIXELS = 2**20
"""As many are counted by class and code at once, which takes some twenty bytes of each."""


class ScoreRows:
    """The counts of all images so far; sums of integers, so that merging is exact in any order.

    Args:
        grid: of the scores.
        unit: how an image's covered pixels add up.
        groups: each class's row, -1 where it has none of its own; None where all share one row.

    Attributes:
        credits: int64 ``(rows, grid.size)``.
        pixels: int64 ``(rows,)``.
        images: int64 ``(rows,)``, those with a pixel in the row.
        size_lcm: per row, a common multiple of its images' pixels.
    """

    def __init__(
        self, grid: ScoreGrid, unit: Unit, groups: np.ndarray[Any, Any] | None = None
    ) -> None:
        self.grid = grid
        self._unit = unit
        self._groups = groups
        rows = 1 if groups is None else int(groups.max()) + 2
        self.credits = np.zeros((rows, grid.size), dtype=np.int64)
        self.pixels = np.zeros(rows, dtype=np.int64)
        self.images = np.zeros(rows, dtype=np.int64)
        self.size_lcm = [1] * rows

    def __len__(self) -> int:
        return len(self.images)

    def merge(self, other: ScoreRows) -> None:
        """Add the counts of rows of the same grid, unit and groups."""
        for row in np.flatnonzero(other.images):  # few of many rows, after one image
            self.credits[row] += other.credits[row]
        self.pixels += other.pixels
        self.images += other.images
        self.size_lcm = [capped_lcm(*pair) for pair in zip(self.size_lcm, other.size_lcm)]

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """The counts as plain arrays."""
        return {
            "credits": self.credits.copy(),
            "pixels": self.pixels.copy(),
            "images": self.images.copy(),
            "size_lcm": np.array(self.size_lcm, dtype=np.int64),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Add what :meth:`state` returned to rows that have counted nothing."""
        self.credits += state["credits"]
        self.pixels += state["pixels"]
        self.images += state["images"]
        self.size_lcm = [int(multiple) for multiple in state["size_lcm"]]

    def histograms(self, true: TrueScores) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
        """The counts of codes, ``(size,)``, in each row that the image has pixels for."""
        if self._groups is None:
            yield 0, self.grid.histogram(true.patterns)
            return
        size, patterns, classes = self.grid.size, as_tensor(true.patterns), as_tensor(true.classes)
        present = np.unique(self._groups[(true.pixels > 0) & (self._groups >= 0)])
        # Each class's place among the rows that this image has; those without a row come last,
        # and ignored pixels beyond them.
        places = np.where(self._groups < 0, len(present), np.searchsorted(present, self._groups))
        lookup = torch.from_numpy(np.append(places, len(present) + 1)).to(patterns.device)
        end = (len(present) + 1) * size
        total = torch.zeros(end, dtype=torch.int64, device=patterns.device)
        for start in range(0, len(patterns), _PART_PIXELS):
            some = slice(start, start + _PART_PIXELS)
            keys = lookup[classes[some].long()] * size + self.grid.codes_of(patterns[some])
            total += torch.bincount(keys, minlength=end)[:end]
        joint = total.cpu().numpy().reshape(-1, size)
        yield from zip(present.tolist(), joint[:-1])
        yield len(self) - 1, joint.sum(axis=0)

    def add(self, row: int, counts: np.ndarray[Any, Any], *, points: bool) -> np.ndarray[Any, Any]:
        """Add one image's counts of codes, or those of separate points, to a row; returns gains."""
        pixels = int(counts.sum())
        gains = self._gains(counts, pixels, points=points)
        self.credits[row] += gains
        self.pixels[row] += pixels
        self.images[row] += pixels if points else 1
        if not points:
            self.size_lcm[row] = capped_lcm(self.size_lcm[row], pixels)
        return gains

    def code_at(self, row: int, alpha: float) -> int | None:
        """Code of the score that the row's q-hat comes from; None when no code gives enough."""
        needed = self._needed(row, alpha)
        credits = self.credits[row]
        return None if needed > int(credits.sum()) else index_from_top(credits, needed)

    def spans(self, alpha: float) -> Iterator[tuple[int, Span]]:
        """By row, the patterns among which its exact score is."""
        for row in range(len(self)):
            code = self.code_at(row, alpha)
            if code is not None:
                credits = self.credits[row]
                needed = self._needed(row, alpha) - int(credits[code + 1 :].sum())
                yield row, Span(*self.grid.pattern_range(code), needed, int(credits[code]))

    def gains_within(
        self, spans: Mapping[int, Span], again: Callable[[], Iterable[TrueScores]]
    ) -> Gains:
        """The gains of all images that ``again`` reads in the bins of each row's span."""
        gains = {row: np.zeros(span.bins, dtype=np.int64) for row, span in spans.items()}
        for true in again():
            self._add_gains_within(spans, true, gains)
        return gains

    def _needed(self, row: int, alpha: float) -> int:
        images = int(self.images[row])
        totals = Totals(int(self.pixels[row]), images, self.size_lcm[row], roundings=images)
        return self._unit.need(totals, alpha)

    def _gains(
        self, counts: np.ndarray[Any, Any], total: int, *, points: bool, above: int = 0
    ) -> np.ndarray[Any, Any]:
        """The credit that each bin adds to those after it and to ``above`` pixels beyond."""
        if self._unit.additive:
            return counts
        if points:  # each is an image of one pixel
            return counts * int(self._unit.credit(np.ones(1, dtype=np.int64), 1)[0])
        covered = np.append(above + np.cumsum(counts[::-1])[::-1], above)
        credit = self._unit.credit(covered, total)
        gains: np.ndarray[Any, Any] = credit[:-1] - credit[1:]
        return gains

    def _add_gains_within(self, spans: Mapping[int, Span], true: TrueScores, gains: Gains) -> None:
        """An image's gains in the bins of each row's span."""
        for row, total, members in self._members(spans, true):
            span = spans[row]
            bins, counts = span.counts(true.patterns, members)
            if len(bins):
                # Only a unit in which pixels do not simply add up asks what lies above.
                above = 0 if self._unit.additive else span.above(true.patterns, members)
                gain = self._gains(counts, total, points=true.points, above=above)
                gains[row][bins] += gain

    def _members(
        self, spans: Mapping[int, Span], true: TrueScores
    ) -> Iterator[tuple[int, int, Any]]:
        """Of each row that the image has pixels for: the row, how many, and which they are."""
        groups = self._groups
        present = set() if groups is None else set(groups[true.pixels > 0].tolist())
        last = len(self) - 1
        for row in spans:
            if row == last:  # the row of all
                total = int(true.pixels.sum())
                if total:
                    yield row, total, true.classes != len(true.pixels)
            elif row in present:
                mine = np.flatnonzero(groups == row).tolist()
                members = functools.reduce(operator.or_, (true.classes == c for c in mine))
                yield row, int(true.pixels[mine].sum()), members
