"""Whether true labels lie the other way round than their maps: turned, mirrored, axes exchanged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations, permutations
from typing import Any, Final, NamedTuple

import numpy as np

__all__ = ["TurnedLabels"]

_FAR_BETTER: Final = 0.3
"""By how much one label alone must fit better when it is turned."""
_RIGHT, _OVERLAP = 0.7, 0.5
"""And how well: the share of its pixels, or their mean IoU over its classes."""
_ALL_BETTER, _ERRORS, _ENOUGH = 0.1, 5.0, 5
"""By how much the mean IoU of all must rise, also in standard errors, and of how many at least."""
_BEYOND_OTHERS: Final = 0.1
"""By how much it must be above that of the other turns: all of them fit better than labels that are
wrong in another way, such as masks of 0 and 1 exchanged."""
_SHOWN: Final = 3

_Array = np.ndarray[Any, Any]


class _Turn(NamedTuple):
    """First the axes in another order, then some of them the other way."""

    axes: tuple[int, ...]
    flipped: tuple[int, ...]

    def of(self, labels: _Array) -> _Array:
        """The labels turned so."""
        return np.flip(labels.transpose(self.axes), self.flipped)

    def __str__(self) -> str:
        """As NumPy is told to."""
        exchanged = self.axes != tuple(range(len(self.axes)))
        text = f"label.transpose{self.axes}" if exchanged else "label"
        return f"numpy.flip({text}, {self.flipped})" if self.flipped else text


class TurnedLabels:
    """Compares labels with their maps in each way that leaves their shape.

    Args:
        ignore_index: the label of pixels without a class.
    """

    def __init__(self, ignore_index: int) -> None:
        self._ignore_index = ignore_index
        self._single: list[tuple[str, _Turn]] = []
        # Of each turn how many labels it leaves in shape, and the sums of their mean IoU, of what
        # they gain, and of the squares of that.
        self._sums: dict[_Turn, _Array] = {}

    def look(self, name: str, likely: _Array, truth: _Array, step: int) -> None:
        """Compare one label with its map.

        Args:
            name: the image's id.
            likely: the most probable class of every ``step``-th pixel along each axis.
            truth: true classes ``(H, W)`` or ``(D, H, W)``.
            step: see ``likely``.
        """
        each = (slice(None, None, step),) * truth.ndim
        right, overlap = self._fit(likely, truth[each])
        if right is None:
            return
        overlaps: dict[_Turn, float] = {}
        better: list[_Turn] = []
        for turn in _turns(truth.shape):
            right_so, overlap_so = self._fit(likely, turn.of(truth)[each])
            if right_so is None:  # nothing but ignored pixels was looked at
                continue
            overlaps[turn] = overlap_so
            gain = overlap_so - overlap
            sums = np.array([1.0, overlap_so, gain, gain**2])
            self._sums[turn] = self._sums.get(turn, np.zeros(4)) + sums
            if right_so >= max(right + _FAR_BETTER, _RIGHT) or overlap_so >= max(
                overlap + _FAR_BETTER, _OVERLAP
            ):
                better.append(turn)
        better = [turn for turn in better if _stands_out(turn, overlaps)]
        if better:
            self._single.append((name, max(better, key=lambda turn: overlaps[turn])))

    def merge(self, other: TurnedLabels) -> None:
        """Add what ``other`` has seen."""
        self._single += other._single
        for turn, sums in other._sums.items():
            self._sums[turn] = self._sums.get(turn, np.zeros(4)) + sums

    def found(self, images: int, volumes: bool) -> str:
        """What looks wrong, and what may be the reason; empty where nothing does.

        Args:
            images: how many were looked at.
            volumes: whether they are volumes.
        """
        together = self._together()
        if together is not None:
            how = f"the labels fit the maps far better, all in all, as {together}"
        elif self._single:
            names = [name for name, _ in self._single]
            shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
            ((most, _),) = Counter(turn for _, turn in self._single).most_common(1)
            how = (
                f"{len(names)} of {images} labels fit their map far better when they are turned or "
                f"mirrored (most as {most}): {shown}"
            )
        else:
            return ""
        if volumes:
            return (
                f"{how}. Axes of one may run the other way, as between LPS and RAS, or come in "
                f"another order: bring maps and labels into one orientation"
            )
        return (
            f"{how}. A photo's EXIF may say that it is to be turned: masks are then drawn on the "
            f"turned photo, and maps made of the pixels as stored; annotate with --follow-exif, or "
            f"turn these masks"
        )

    def _fit(self, likely: _Array, truth: _Array) -> tuple[float | None, float]:
        """The share of pixels that are right, None where all are ignored, and their mean IoU."""
        known = truth != self._ignore_index
        if not known.any():
            return None, 0.0
        likely, truth = likely[known], truth[known]
        same = truth[truth == likely]
        classes, pixels = np.unique(truth, return_counts=True)
        size = int(max(likely.max(), classes.max(), 0)) + 1
        classes, pixels = classes[classes >= 0], pixels[classes >= 0]
        right, called = (np.bincount(some, minlength=size)[classes] for some in (same, likely))
        overlap = right / (pixels + called - right)
        return len(same) / len(truth), float(overlap.mean()) if len(overlap) else 0.0

    def _together(self) -> _Turn | None:
        """The way in which all labels together fit far better."""
        overlaps: dict[_Turn, float] = {}
        better: list[_Turn] = []
        for turn, (number, overlap, total, squares) in self._sums.items():
            if number < _ENOUGH:
                continue
            overlaps[turn], mean = overlap / number, total / number
            variance = max(0.0, squares / number - mean**2) * number / (number - 1)
            if mean >= max(_ALL_BETTER, _ERRORS * (variance / number) ** 0.5):
                better.append(turn)
        better = [turn for turn in better if _stands_out(turn, overlaps)]
        return max(better, key=lambda turn: overlaps[turn]) if better else None


def _stands_out(turn: _Turn, overlaps: Mapping[_Turn, float]) -> bool:
    """Whether it fits better than the others do on average; where there are others."""
    others = [overlap for other, overlap in overlaps.items() if other != turn]
    return not others or overlaps[turn] >= sum(others) / len(others) + _BEYOND_OTHERS


def _turns(shape: Sequence[int]) -> Iterator[_Turn]:
    """Every way but that in which they lie."""
    axes = range(len(shape))
    for order in permutations(axes):
        if any(shape[axis] != side for axis, side in zip(order, shape)):
            continue
        for number in range(len(shape) + 1):
            for flipped in combinations(axes, number):
                if flipped or order != tuple(axes):
                    yield _Turn(order, flipped)
