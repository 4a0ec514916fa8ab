"""What more labelled images would certify, guessed from those that there are. No promise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from conformal_plugin.errors import OptionError
from conformal_plugin.precision._path import ThresholdPath
from conformal_plugin.precision._path_counts import PathCounts
from conformal_plugin.precision._target import PrecisionTarget

__all__ = ["Forecast", "forecast"]


@dataclass(frozen=True)
class Forecast:
    """What a number of calibration units may be worth.

    Attributes:
        units: how many images, or groups where images came in groups.
        nothing: share of resampled sets of this size with which nothing can be kept.
        kept: mean share of an image's pixels that keep a label, nothing counting as 0.
    """

    units: int
    nothing: float
    kept: float


def forecast(
    counts: PathCounts,
    path: ThresholdPath,
    target: PrecisionTarget,
    sizes: Sequence[int],
    *,
    draws: int = 50,
    seed: int = 0,
) -> list[Forecast]:
    """Guess what calibrations of other sizes would give, by drawing from counted images.

    Images (or whole groups) are drawn with replacement, as many as a size says, and certified as
    :func:`conformal_plugin.calibrate_precision` does. Repeats make the drawn sets a little too
    alike to the counted ones, the more so the fewer these are: an indication of how many to label.

    Args:
        counts: of the images that are labelled already, by
            :meth:`conformal_plugin.PrecisionCalibrator.counts`.
        path: that they were counted on.
        target: what is to be promised.
        sizes: numbers of images or groups.
        draws: how many sets of each size are drawn.
        seed: of the draws.

    Returns:
        One forecast a size, in the order given.

    Raises:
        OptionError: no draw, or a size below 1.
    """
    if draws < 1 or any(size < 1 for size in sizes):
        raise OptionError(f"sizes and draws must be 1 or more, got {list(sizes)} and {draws}")
    units = _units(counts)
    rng = np.random.default_rng(seed)
    found = []
    for size in sizes:
        kept = []
        for _ in range(draws):
            drawn = rng.integers(0, len(units), size).tolist()
            rows = [row for unit in drawn for row in units[unit]]
            # A group that is drawn twice stands for two groups.
            names = [f"{k}" for k, unit in enumerate(drawn) for _ in units[unit]]
            some = counts.taken(rows)
            if counts.groups is not None:
                some = replace(some, groups=tuple(names))
            place = target.certified(some, path)
            kept.append(
                -1.0 if place is None else float((some.kept[:, place] / some.pixels).mean())
            )
        shares = np.array(kept)
        found.append(
            Forecast(size, float((shares < 0).mean()), float(np.maximum(shares, 0).mean()))
        )
    return found


def _units(counts: PathCounts) -> list[list[int]]:
    """The rows of each image, or group."""
    if counts.groups is None:
        return [[row] for row in range(len(counts.ids))]
    rows: dict[str, list[int]] = {}
    for row, group in enumerate(counts.groups):
        rows.setdefault(group, []).append(row)
    return list(rows.values())
