"""Calibrate per pixel: count the true classes' scores, read q-hat off the counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from conformal_plugin.calibration._counting import ScoreCounter
from conformal_plugin.calibration._effective_size import ImageSpread, effective_size_of
from conformal_plugin.calibration._guarantee import Guarantee
from conformal_plugin.calibration._in_one_call import calibrate_with, listed
from conformal_plugin.calibration._qhat import selected
from conformal_plugin.calibration._quantile import exact_alpha
from conformal_plugin.calibration._result import Calibration
from conformal_plugin.calibration._units import Pixels
from conformal_plugin.processes import in_parallel
from conformal_plugin.scores import RecentReadings, ScoreGrid, TrueScores, elsewhere, rereadable

__all__ = ["Calibrator", "calibrate"]


def calibrate(
    scores: Any,
    labels: Any,
    alpha: float = 0.05,
    *,
    ignore_index: int = 255,
    ids: Iterable[Any] | None = None,
    groups: Any = None,
) -> Calibration:
    """The q-hat of pooled calibration pixels (ConformalSAM, arXiv 2507.15803, section 3).

    The nonconformity of a pixel with true class y is ``1 - P(y)``; q-hat is the
    ``ceil((n + 1)(1 - alpha))``-th smallest of the n pixels that are not ignored, and infinite
    when that rank exceeds n. It equals, bit for bit, what sorting all scores gives; the one
    exception is float32 and float64 scores from iterators that can be read only once, whose q-hat
    is rounded up by at most 2**-16 and says so in ``resolution``.

    Args:
        scores: class scores in [0, 1], which need not sum to 1. One image ``(K, H, W)``, a batch
            ``(N, K, H, W)``, N separate points ``(N, K)`` (each counted as an image of its own),
            or an iterable of ``(K, H_i, W_i)`` with images of different sizes. Volumes have five
            dimensions, ``(N, K, D, H, W)``, those of an iterable too: ``(1, K, D_i, H_i, W_i)``;
            a volume is counted as an image is, and the guarantee says so. NumPy arrays, torch
            tensors on any device, or anything that speaks DLPack; float16, bfloat16, float32,
            float64, or 8- and 16-bit integers, scaled by the largest value of their dtype (255
            for uint8).
        labels: true classes ``(H, W)``, ``(N, H, W)``, ``(N,)``, ``(N, D, H, W)``, or an iterable
            in step with ``scores``, of any integer dtype.
        alpha: miscoverage level in (0, 1): 0.05 asks that 95 % of pixels have their true class in
            the prediction set.
        ignore_index: label of pixels to leave out.
        ids: one per image, in step with ``scores``: images whose id came before are counted once,
            and the result says how many. None counts every image.
        groups: where images come in groups that are alike (frames of a video, slices of a patient,
            tiles of a scene), the group of each: one label per image, in step, or a mapping from id
            to group. Groups, not images, are then what is exchangeable: promises are per group,
            and q-hat of the pooled pixels is the same, but ``n_effective`` and the wording tell
            what so many groups are worth. An image that is alone is a group of its own. None where
            every image is an independent draw.

    Returns:
        The calibration. Its guarantee is heuristic for images (the pixels of one image are not
        independent; ``n_effective`` estimates how many independent ones they are worth) and exact
        for separate points without groups.

    Raises:
        AlphaError, InputTypeError, ShapeError, DeviceMismatchError, ScoreError, LabelError: see
            :mod:`conformal_plugin.errors`; each message says what to do.
        OptionError: an image without a group, or groups by id without ids.
        EmptyCalibrationError: no pixel is labelled.

    Example:
        >>> import numpy as np
        >>> scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]])
        >>> calibrate(scores, np.array([0, 1, 1, 1]), alpha=0.4).qhat
        0.4
    """
    exact_alpha(alpha)
    ids, groups = listed(ids), listed(groups)
    if rereadable(scores, labels):
        fresh = Calibrator(ignore_index=ignore_index)
        selected = fresh._selected(scores, labels, alpha, ids, groups)
        if selected is not None:
            return selected
    return calibrate_with(Calibrator(ignore_index=ignore_index), scores, labels, alpha, ids, groups)


class Calibrator(ScoreCounter):
    """Counts calibration scores as they stream by, in constant memory.

    Counts of integers are what is kept, so merging is associative and commutative to the bit, and
    one pass serves any number of alphas.

    Args:
        ignore_index: label of pixels to leave out.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> calibrator = Calibrator()
        >>> for _ in range(3):
        ...     scores = rng.dirichlet(np.ones(4), (5, 6)).transpose(2, 0, 1).astype(np.float16)
        ...     calibrator.update(scores, rng.integers(0, 4, (5, 6)))
        >>> calibrator.result(0.1).n_pixels
        90
    """

    def __init__(self, *, ignore_index: int = 255) -> None:
        super().__init__(Pixels(), ignore_index=ignore_index)
        self._spread = ImageSpread()

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """All that was counted, as plain arrays that ``numpy.savez`` stores without pickling."""
        return {**super().state(), **self._spread.state()}

    def _begin(self, grid: ScoreGrid, num_classes: int) -> None:
        first = self._rows is None
        super()._begin(grid, num_classes)
        if first:
            self._spread = ImageSpread(grid.size)

    @property
    def _per_group(self) -> bool:
        return True

    def _add(
        self, row: int, counts: np.ndarray[Any, Any], *, points: bool, group: str | None
    ) -> None:
        super()._add(row, counts, points=points, group=group)
        if points:
            self._spread.add_points(counts)
        else:
            self._spread.add_image(counts)

    def _add_counts(self, other: Calibrator) -> None:
        super()._add_counts(other)
        self._spread.merge(other._spread)

    def _restore(self, state: Mapping[str, Any]) -> None:
        super()._restore(state)
        self._spread = ImageSpread.from_state(state)

    def _calibration(
        self, alpha: float, qhats: np.ndarray[Any, Any], resolution: float
    ) -> Calibration:
        guarantee = self._guarantee(alpha)
        effective = self._effective_size(alpha)
        return self._result(alpha, qhats[0], guarantee, resolution, n_effective=effective)

    def _selected(
        self, scores: Any, labels: Any, alpha: float, ids: Iterable[Any] | None, groups: Any
    ) -> Calibration | None:
        """The exact calibration where all that is read is little enough to be held at once.

        Finding one order statistic takes less time than counting every score. Equals
        :meth:`exact_result` to the bit; None where there is too much to hold.
        """
        recent = RecentReadings()
        items = map(self._begun_with, self._ids.first_of_each(scores, labels, ids, groups=groups))
        for item, read in in_parallel(self._read_scores, items, here=elsewhere):
            with item.named():
                true = read()
            recent.add(true)
            if not recent.complete:
                return None
            self._absorb(true, [])
            self._counted().images += int(true.pixels.sum() if true.points else true.pixels.any())
        qhat, effective = math.inf, None
        patterns = [true.patterns for true in recent.readings]
        found = selected(patterns, self.n_pixels, alpha, self._begun().grid)
        if found is not None:
            qhat, counts = found
            if not self._independent:
                effective = effective_size_of(*_covered(recent.readings, counts))
        return self._result(alpha, qhat, self._guarantee(alpha), 0.0, n_effective=effective)

    def _guarantee(self, alpha: float) -> Guarantee:
        share = f"{100 * (1 - float(alpha)):g} %"
        if self._independent:
            return Guarantee(
                "marginal",
                "point",
                True,
                f"A new exchangeable point has its true class in the prediction set with "
                f"probability at least {share}.",
            )
        unit = "group" if self.n_groups else "image"
        return Guarantee(
            "pixel-marginal",
            "pixel",
            False,
            f"On average over calibration sets about {share} of pixels have their true class in "
            f"the prediction set. Heuristic: the pixels of one {unit} are not independent, so the "
            f"spread is that of the number of {unit}s, not of pixels, and with few {unit}s the "
            f"average mostly lies a little below.",
        )

    @property
    def _independent(self) -> bool:
        """Whether every pixel is a point of its own."""
        return self.n_images == self.n_pixels and self.n_groups is None

    def _effective_size(self, alpha: float) -> float | None:
        rows = self._begun()
        code = rows.code_at(0, alpha)
        if code is None or self._independent:
            return None
        if self.n_groups:
            parts = [part for _, _, part in self._by_group.parts()]
            return effective_size_of(
                [part.covered(code) for part in parts], [part.pixels for part in parts]
            )
        covered = int(rows.credits[0, code:].sum())
        return self._spread.effective_size(code, covered, self.n_pixels, self.n_images)


def _covered(readings: Sequence[TrueScores], counts: Sequence[int]) -> tuple[list[int], list[int]]:
    """Per image, or group, with labelled pixels, how many of them are counted, and all.

    Args:
        readings: of the images.
        counts: per image, its labelled pixels that count and all its ignored ones.
    """
    pixels = [int(true.pixels.sum()) for true in readings]
    covered = [
        count - (len(true.classes) - total) for count, true, total in zip(counts, readings, pixels)
    ]
    of_unit: dict[Any, tuple[int, int]] = {}
    for number, (true, some, total) in enumerate(zip(readings, covered, pixels)):
        unit = number if true.group is None else true.group
        before = of_unit.get(unit, (0, 0))
        if total:
            of_unit[unit] = before[0] + some, before[1] + total
    return [some for some, _ in of_unit.values()], [total for _, total in of_unit.values()]
