"""How the maps that several annotators gave of one photo become one map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from conformal_plugin.combining._parts import CombinedParts
from conformal_plugin.errors import OptionError, ShapeError
from conformal_plugin.files import ScoreMap
from conformal_plugin.scores import ScoreParts

__all__ = ["FITTED_ON", "RULES", "Combination", "log_scores", "mean_of", "stacked"]

RULES = ("mean", "pick", "route", "stack")
"""Ways to combine maps, fixed before, an annotator a class, or a fitted log-linear pool."""
FITTED_ON = "fitted_on"
"""The key of an annotator's fingerprint that lists the labelled images that made it what it is."""
_LEAST_SCORE = 2.0**-10
"""What a score of zero counts as where its logarithm is taken."""


@dataclass(frozen=True)
class Combination:
    """A rule with its numbers; a function from the maps of one photo to one map.

    Attributes:
        rule: ``"mean"``, ``"pick"`` or ``"route"``: score k is ``sum_a weights[a][k] * P_a(k)``.
            ``"stack"``: it is the softmax over k of ``offsets[k] + sum_a weights[a][k] * log
            P_a(k)``.
        weights: for each annotator, one per class.
        offsets: one per class; all zero but for ``"stack"``.
        fitted_on: ids of the labelled images that the numbers were fitted on.

    Raises:
        OptionError: the rule is unknown, or the numbers of classes do not agree.
    """

    rule: str
    weights: tuple[tuple[float, ...], ...]
    offsets: tuple[float, ...]
    fitted_on: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise OptionError(f"rule must be one of {', '.join(RULES)}, got {self.rule!r}")
        lengths = {len(self.offsets), *map(len, self.weights)}
        if not self.weights or len(lengths) != 1:
            raise OptionError(
                f"a combination needs a weight for each annotator and class and an offset for each "
                f"class, got rows of {sorted(lengths)} numbers for {len(self.weights)} annotators"
            )

    def __call__(self, maps: Sequence[ScoreMap | ScoreParts]) -> npt.NDArray[np.float32]:
        """The combined scores ``(K, H, W)``, or ``(K, D, H, W)`` of a volume.

        Args:
            maps: of the same photo or volume, one for each annotator, in the order of ``weights``.

        Raises:
            ShapeError: the maps do not have one shape, or other classes than the weights.
            ScoreError: a score is not in [0, 1].
            OptionError: more or fewer maps than annotators.
        """
        whole: npt.NDArray[np.float32] = self.in_parts(maps).whole()
        return whole

    def in_parts(self, maps: Sequence[ScoreMap | ScoreParts]) -> ScoreParts:
        """The combined scores, of which no more than a part is in memory, as is of the maps.

        Args:
            maps: as for a call; some or all may be read part by part, as
                :func:`conformal_plugin.files.open_map` does.

        Raises:
            ShapeError, OptionError: as for a call.
            ScoreError: where the parts are read: a score is not in [0, 1].
        """
        if len(maps) != len(self.weights):
            raise OptionError(
                f"this combination is of {len(self.weights)} annotators, got {len(maps)} maps"
            )
        combined = CombinedParts(self._of_part, maps)
        classes = combined.shape[0]
        if classes != len(self.offsets):
            raise ShapeError(
                f"this combination has {len(self.offsets)} classes and the maps {classes}; "
                f"fit it on maps of these annotators"
            )
        return combined

    def _of_part(self, arrays: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
        sides = (1,) * (arrays[0].ndim - 1)
        weights = np.asarray(self.weights, np.float32).reshape(len(arrays), -1, *sides)
        if self.rule == "stack":
            offsets = np.asarray(self.offsets, np.float32).reshape(-1, *sides)
            return stacked(log_scores(arrays), weights, offsets)
        total = np.zeros_like(arrays[0])
        for weight, scores in zip(weights, arrays):
            total += weight * scores
        return np.minimum(total, 1.0, out=total)

    def fingerprint(self, annotators: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """What the combined scores depend on, for a store.

        Args:
            annotators: the fingerprints of those combined; images that one of them was fitted on
                are listed with this combination's own.
        """
        seen = {name for annotator in annotators for name in annotator.get(FITTED_ON, ())}
        return {
            "annotator": "combination",
            "rule": self.rule,
            "weights": [list(row) for row in self.weights],
            "offsets": list(self.offsets),
            "of": [dict(annotator) for annotator in annotators],
            FITTED_ON: sorted(seen | set(self.fitted_on)),
        }


def mean_of(annotators: int, classes: int) -> Combination:
    """The mean of all annotators' scores, fixed before any image is looked at.

    Args:
        annotators: how many there are.
        classes: how many classes they score.

    Raises:
        OptionError: fewer than one of either.

    Example:
        >>> import numpy as np
        >>> sure, unsure = np.array([[[1.0]], [[0.0]]]), np.array([[[0.5]], [[0.5]]])
        >>> mean_of(2, 2)([sure, unsure]).ravel().tolist()
        [0.75, 0.25]
    """
    if annotators < 1 or classes < 1:
        raise OptionError(
            f"a mean needs an annotator and a class, got {annotators} and {classes} of them"
        )
    row = (1.0 / annotators,) * classes
    return Combination("mean", (row,) * annotators, (0.0,) * classes)


def log_scores(arrays: Sequence[npt.NDArray[np.float32]]) -> npt.NDArray[np.float32]:
    """The logarithms of scores, of which none is minus infinity."""
    logs: npt.NDArray[np.float32] = np.log(np.maximum(np.stack(arrays), np.float32(_LEAST_SCORE)))
    return logs


def stacked(
    logs: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float32],
    offsets: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """The log-linear pool over the classes, which are the second axis of ``logs``."""
    values = offsets + (weights * logs).sum(0)
    values = np.exp(values - values.max(0))
    pooled: npt.NDArray[np.float32] = values / values.sum(0)
    return pooled
