"""The rows of images that come in groups: a group's credit is the mean of its images'.

With N images in a group the credit is ``sum of theirs // N`` (``Unit.group_credit``), rounded down
as theirs is, so that the group's loss is again monotone, in [0, 1] and no smaller than the mean:
hierarchical conformal prediction (arXiv 2306.06342) with weights ``1 / ((groups + 1) N)``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from conformal_plugin.calibration._group_counts import GroupCounts
from conformal_plugin.calibration._score_rows import Gains, ScoreRows
from conformal_plugin.calibration._span import Span
from conformal_plugin.calibration._units import Totals, capped_lcm
from conformal_plugin.errors import OptionError
from conformal_plugin.scores import TrueScores

__all__ = ["GroupedRows"]

Array = np.ndarray[Any, Any]


class GroupedRows(ScoreRows):
    """The counts of all groups, each as one observation.

    Args:
        plain: the counts of the same images without groups.
        counts: those of their groups.
    """

    def __init__(self, plain: ScoreRows, counts: GroupCounts) -> None:
        super().__init__(plain.grid, plain._unit, plain._groups)
        self._counts = counts
        for _, row, part in counts.parts():
            gains = self._shared(part.gains, 0, part.images)
            self.credits[row][part.codes] += gains
            self.pixels[row] += part.pixels
            self.images[row] += 1
            multiple = part.images * part.size_lcm
            self.size_lcm[row] = capped_lcm(self.size_lcm[row], multiple)

    def gains_within(
        self, spans: Mapping[int, Span], again: Callable[[], Iterable[TrueScores]]
    ) -> Gains:
        """As :meth:`ScoreRows.gains_within`; each group must be read whole.

        Raises:
            OptionError: some images of a group were not read.
        """
        found: dict[tuple[int, str], list[tuple[Array, Array, int]]] = {}
        for true in again():
            for row, inside in self._inside(spans, true):
                found.setdefault((row, true.group or ""), []).append(inside)
        gains = {row: np.zeros(span.bins, dtype=np.int64) for row, span in spans.items()}
        for (row, group), images in found.items():
            self._require_whole(group, row, sum(many for *_, many in images))
            above = sum(int(gain[-1]) for _, gain, _ in images)
            bins = np.concatenate([bins for bins, _, _ in images])
            gain = np.concatenate([gain[:-1] for _, gain, _ in images])
            places, at = np.unique(bins, return_inverse=True)
            summed = np.zeros(len(places), dtype=np.int64)
            np.add.at(summed, at.ravel(), gain)
            part = self._counts.of(group, row)
            assert part is not None
            gains[row][places] += self._shared(summed, above, part.images)
        return gains

    def _needed(self, row: int, alpha: float) -> int:
        groups = int(self.images[row])
        totals = Totals(int(self.pixels[row]), groups, self.size_lcm[row], roundings=2 * groups)
        return self._unit.group_need(totals, alpha)

    def _shared(self, gains: Array, above: int, images: int) -> Array:
        """What the group gains at places, ascending, of which its images gain ``gains``.

        Args:
            gains: int64, the images' sum at each place.
            above: their sum at places beyond.
            images: how many they are.
        """
        summed = above + np.append(np.cumsum(gains[::-1])[::-1], 0)
        credit = self._unit.group_credit(summed, images)
        return np.asarray(credit[:-1] - credit[1:])

    def _inside(
        self, spans: Mapping[int, Span], true: TrueScores
    ) -> Iterable[tuple[int, tuple[Array, Array, int]]]:
        """By row, an image's bins within the span, its gains there and, last, above; and images.

        Separate points of a group are images of one pixel.
        """
        for row, total, members in self._members(spans, true):
            span = spans[row]
            bins, counts = span.counts(true.patterns, members)
            above = span.above(true.patterns, members)
            gain = self._gains(counts, total, points=true.points, above=above)
            beyond = self._credit_of(above, total, points=true.points)
            yield row, (bins, np.append(gain, beyond), total if true.points else 1)

    def _credit_of(self, covered: int, total: int, *, points: bool) -> int:
        one = np.array([1 if points else covered], dtype=np.int64)
        credit = int(self._unit.credit(one, 1 if points else total)[0])
        return credit * covered if points else credit

    def _require_whole(self, group: str, row: int, images: int) -> None:
        part = self._counts.of(group, row)
        counted = 0 if part is None else part.images
        if images != counted:
            raise OptionError(
                f"the second reading found {images} images of the group {group!r} where {counted} "
                f"had been counted: pass data that is the same each time it is read, and the "
                f"images of a group to one process"
            )
