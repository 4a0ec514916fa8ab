"""Are labelled and unlabelled images exchangeable? A permutation test on the maps alone.

Whatever a calibration promises, it promises for images exchangeable with the labelled ones. Given
the bag of all maps, exchangeable images are labelled or not by a random draw: under random draws of
as many labelled ones, the largest of a set of standardised differences has a law that is known, and
that of the real draw has a rank in it. With B draws ``(1 + draws at least as large) / (1 + B)`` is
a p-value at every level, for any statistic, any law and any number of measures (Lehmann and Romano,
Testing Statistical Hypotheses, chapter 15); comparing each measure with the largest of all is the
single-step adjustment of Westfall and Young (Resampling-Based Multiple Testing, 1993).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformal_plugin.calibration import Comparison
from conformal_plugin.errors import OptionError, ShapeError, TooFewImagesError
from conformal_plugin.evaluation._map_measures import MapMeasures, measure_map
from conformal_plugin.scores import group_labels

__all__ = ["NOT_EXCHANGEABLE", "Difference", "Shift", "shift_between", "shift_of_measures"]

Array = np.ndarray[Any, Any]

_DRAWS = 9999
_BATCH = 512
_RARE = 0.1
"""Classes most probable anywhere in a smaller share of images tell nothing but chance."""
_SHOWN = 3
NOT_EXCHANGEABLE = 0.01
"""At this p-value or below, labelled and unlabelled images are said to differ."""


@dataclass(frozen=True)
class Difference:
    """One measure on both sides.

    Attributes:
        measure: what was measured of each map.
        labelled: its mean over labelled units.
        unlabelled: its mean over unlabelled ones.
        p_value: adjusted for all measures that were looked at.
    """

    measure: str
    labelled: float
    unlabelled: float
    p_value: float


@dataclass(frozen=True)
class Shift:
    """Whether labelled and unlabelled maps look exchangeable.

    Attributes:
        p_value: valid at every level: for exchangeable images it is at most p with probability p.
        n_labelled: how many labelled units were compared.
        n_unlabelled: how many unlabelled ones.
        unit: what was exchanged: ``"image"`` or ``"group"``.
        differences: the measures, those that differ most surely first.
    """

    p_value: float
    n_labelled: int
    n_unlabelled: int
    unit: str
    differences: tuple[Difference, ...]

    @property
    def statement(self) -> str:
        """What was found, and what it does not say."""
        sets = (
            f"{self.n_labelled} labelled and {self.n_unlabelled} unlabelled {self.unit}s, by their "
            f"maps alone: p = {self.p_value:.2g}"
        )
        if self.p_value > NOT_EXCHANGEABLE:
            return (
                f"{sets}. They look exchangeable as far as these maps show; other objects that get "
                f"the same scores, or masks of another quality, do not show."
            )
        clear = [d for d in self.differences if d.p_value <= NOT_EXCHANGEABLE][:_SHOWN]
        what = "; ".join(f"{d.measure} {d.labelled:.4g} and {d.unlabelled:.4g}" for d in clear)
        return (
            f"{sets}. They are not exchangeable, so that no promise carries over to the unlabelled "
            f"ones. What differs most (labelled, unlabelled): {what}."
        )

    @property
    def comparison(self) -> Comparison:
        """The same, for a calibration to remember."""
        return Comparison(
            self.p_value, self.unit, self.n_labelled, self.n_unlabelled, self.statement
        )


def shift_between(
    labelled: Iterable[Any],
    unlabelled: Iterable[Any],
    *,
    groups: Any = None,
    unlabelled_groups: Any = None,
) -> Shift:
    """Test whether labelled and unlabelled images are exchangeable, by the annotator's maps alone.

    Each map is summed up in a few numbers: how sure it is, how it leads, what it sums to, which
    classes it sees, its size. The statistic is the largest standardised difference of ranks, in
    location or in spread, of all of them. A small p-value says that calibration on the labelled
    images promises nothing for the unlabelled ones. A large one does not prove the opposite: what
    the maps do not show (masks of another quality, objects that are confused in both) stays unseen.

    Args:
        labelled: maps ``(K, H, W)`` of the calibration images, each once.
        unlabelled: maps of the unlabelled images, or of a random part of them.
        groups, unlabelled_groups: where images come in groups, that of each, in step; both or
            neither. Whole groups are then exchanged, by the means of their images.

    Returns:
        The p-value with the measures that it comes from. The draws follow from the maps, so that
        the same maps give the same answer.

    Raises:
        TooFewImagesError: fewer than two units on a side.
        OptionError: a group with images on both sides: exchange images then, if the labelled ones
            were drawn one by one.
        ShapeError: another number of classes.
        InputTypeError, ScoreError: bad maps.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> maps = rng.dirichlet(np.ones(3), (40, 6, 6)).transpose(0, 3, 1, 2)
        >>> shift_between(maps[:20], maps[20:]).p_value > 0.05
        True
        >>> shift_between(maps[:20], maps[20:] ** 2).p_value
        0.0001
    """
    return shift_of_measures(
        [measure_map(scores) for scores in labelled],
        [measure_map(scores) for scores in unlabelled],
        groups=groups,
        unlabelled_groups=unlabelled_groups,
    )


def shift_of_measures(
    labelled: Sequence[MapMeasures],
    unlabelled: Sequence[MapMeasures],
    *,
    groups: Any = None,
    unlabelled_groups: Any = None,
) -> Shift:
    """:func:`shift_between` of maps that were measured already."""
    if (groups is None) != (unlabelled_groups is None):
        raise OptionError("pass both groups and unlabelled_groups, or neither")
    unit = "image" if groups is None else "group"
    ours = _units(labelled, groups)
    theirs = _units(unlabelled, unlabelled_groups)
    if groups is not None:
        _require_apart(groups, len(labelled), unlabelled_groups, len(unlabelled))
    for name, units in (("labelled", ours), ("unlabelled", theirs)):
        if len(units) < 2:
            raise TooFewImagesError(
                f"two {name} {unit}s at least are needed to compare, got {len(units)}"
            )
    if ours.shape[1] != theirs.shape[1]:
        raise ShapeError(
            "the labelled and the unlabelled maps have different numbers of classes; compare maps "
            "of one annotator"
        )
    bag = np.concatenate([ours, theirs])
    names = list(MapMeasures.names(len(labelled[0].shares)))
    columns = _worth_comparing(bag, len(names) - len(labelled[0].shares))
    observed, highest = _largest_differences(bag[:, columns], len(ours))
    adjusted = (1 + (highest[:, None] >= observed - 1e-9).sum(axis=0)) / (1 + _DRAWS)
    differences = sorted(
        (
            Difference(names[c], float(mine), float(other), float(p))
            for c, mine, other, p in zip(
                columns, ours[:, columns].mean(axis=0), theirs[:, columns].mean(axis=0), adjusted
            )
        ),
        key=lambda difference: difference.p_value,
    )
    p_value = float(adjusted.min()) if len(columns) else 1.0
    return Shift(p_value, len(ours), len(theirs), unit, tuple(differences))


def _units(measures: Sequence[MapMeasures], groups: Any) -> Array:
    """One row of measures per image, or the mean of them per group, with its size."""
    rows = np.array([np.append(m.general, m.shares) for m in measures])
    if groups is None or not len(rows):
        return rows
    labels = group_labels(groups, len(rows))
    names = list(dict.fromkeys(labels))
    return np.stack([rows[[label == name for label in labels]].mean(axis=0) for name in names])


def _require_apart(groups: Any, images: int, others: Any, other_images: int) -> None:
    both = set(group_labels(groups, images)) & set(group_labels(others, other_images))
    if both:
        raise OptionError(
            f"{len(both)} groups, {min(both)!r} for one, have labelled and unlabelled images: "
            f"whole groups are then not what was drawn; compare without groups if the labelled "
            f"images were drawn one by one at random"
        )


def _worth_comparing(bag: Array, general: int) -> list[int]:
    """Measures that vary, and classes that enough images show; symmetric in the whole bag."""
    varied = np.ptp(bag, axis=0) > 0
    seen = (bag[:, general:] > 0).mean(axis=0) >= _RARE
    return [int(c) for c in np.flatnonzero(varied & np.append(np.ones(general, bool), seen))]


def _largest_differences(bag: Array, labelled: int) -> tuple[Array, Array]:
    """Each measure's difference, ``(F,)``, and the largest of all under each draw, ``(draws,)``.

    A difference is that of mean ranks, and of mean distances of ranks from the middle, in standard
    deviations over all draws without replacement.
    """
    units, measures = bag.shape
    if not measures:
        return np.zeros(0), np.zeros(_DRAWS)
    from scipy.stats import rankdata  # which takes a second to import

    ranks = rankdata(bag, axis=0)
    both = np.concatenate([ranks, np.abs(ranks - (units + 1) / 2)], axis=1)
    centred = both - both.mean(axis=0)
    # Of a sum of `labelled` of them drawn without replacement.
    variance = centred.var(axis=0, ddof=1) * labelled * (1 - labelled / units)
    scaled = np.divide(
        centred, np.sqrt(variance), out=np.zeros_like(centred), where=variance > 1e-12
    )
    observed = np.abs(scaled[:labelled].sum(axis=0)).reshape(2, measures).max(axis=0)
    rng = np.random.default_rng(_seed_of(bag, labelled))
    highest = []
    for start in range(0, _DRAWS, _BATCH):
        size = min(_BATCH, _DRAWS - start)
        order = np.argpartition(rng.random((size, units)), labelled - 1, axis=1)[:, :labelled]
        chosen = np.zeros((size, units))
        np.put_along_axis(chosen, order, 1.0, axis=1)
        highest.append(np.abs(chosen @ scaled).max(axis=1))
    return observed, np.concatenate(highest)


def _seed_of(bag: Array, labelled: int) -> int:
    """The same for the same data, another for any other: the draws know nothing of the measures."""
    digest = hashlib.sha256(f"{labelled} {math.prod(bag.shape)} ".encode() + bag.tobytes()).digest()
    return int.from_bytes(digest[:16], "big")
