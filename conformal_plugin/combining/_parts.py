"""Maps of one photo or volume from several annotators, part by part and in step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from conformal_plugin.errors import ScoreError, ShapeError
from conformal_plugin.files import ScoreMap
from conformal_plugin.scores import ScoreParts

__all__ = ["CombinedParts", "in_step"]

Arrays: TypeAlias = "list[npt.NDArray[np.float32]]"

_STEP_BYTES: Final = 2**24
"""How much of each map is at work at once: rules hold several arrays of that size."""


class CombinedParts(ScoreParts):
    """What a rule makes of several maps, of which no more than a part is in memory.

    Args:
        combine: gives the combined scores of a part, from that part of each map.
        maps: of one shape.

    Raises:
        ShapeError: the maps do not have one shape.
    """

    dtype = np.dtype(np.float32)

    def __init__(
        self,
        combine: Callable[[Arrays], npt.NDArray[np.float32]],
        maps: Sequence[ScoreMap | ScoreParts],
    ) -> None:
        self.shape = _shape_of(maps)
        self._combine = combine
        self._maps = maps

    def parts(self) -> Iterator[np.ndarray[Any, Any]]:
        """Each part of the result, computed when it is asked for."""
        return (self._combine(arrays) for _, arrays in in_step(self._maps))


def in_step(maps: Sequence[ScoreMap | ScoreParts]) -> Iterator[tuple[slice, Arrays]]:
    """Where a part lies on the axis after K, and that part of each map as float32, checked.

    Args:
        maps: of one shape; parts of some may be of other heights than those of others.

    Raises:
        ShapeError: the maps do not have one shape.
        ScoreError: a score is not in [0, 1].
    """
    classes, rows, *row = _shape_of(maps)
    step = max(1, _STEP_BYTES // (4 * classes * max(1, prod(row))))
    sources = [_placed(one) for one in maps]
    held = [next(source) for source in sources]
    top = 0
    while True:
        below = min(top + step, *(end for _, end, _ in held))
        yield (
            slice(top, below),
            [
                _plain(part[:, top - start : below - start], number)
                for number, (start, _, part) in enumerate(held)
            ],
        )
        if below == rows:
            return
        held = [next(source) if part[1] == below else part for source, part in zip(sources, held)]
        top = below


def _shape_of(maps: Sequence[ScoreMap | ScoreParts]) -> tuple[int, ...]:
    shapes = [tuple(scores.shape) for scores in maps]
    if len(set(shapes)) != 1 or len(shapes[0]) not in (3, 4):
        raise ShapeError(
            f"maps that are combined must have one shape (K, H, W) or (K, D, H, W), got "
            f"{' and '.join(map(str, shapes))}; have all annotators score the photo in its own size"
        )
    return shapes[0]


def _placed(scores: ScoreMap | ScoreParts) -> Iterator[tuple[int, int, Any]]:
    """From where to where, and the scores there."""
    top = 0
    for part in scores.parts() if isinstance(scores, ScoreParts) else (scores,):
        yield top, top + part.shape[1], part
        top += part.shape[1]


def _plain(scores: ScoreMap, annotator: int) -> npt.NDArray[np.float32]:
    array: npt.NDArray[np.float32] = torch.as_tensor(scores).detach().cpu().float().numpy()
    if array.size and not (array.min() >= 0 and array.max() <= 1):  # NaN, too
        raise ScoreError(
            f"the map of annotator {annotator} has scores from {array.min():g} to "
            f"{array.max():g}; scores must be in [0, 1]"
        )
    return array
