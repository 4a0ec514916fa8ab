"""Counting labelled scores as they stream by: what all calibrations share.

A counter holds one row of integers over the score codes of :mod:`conformal_plugin.grid`: for each
code, how much credit (:mod:`conformal_plugin.units`) the images gain when q-hat grows just enough
to let it into the sets. q-hat is read off by summing from the largest score down. Counters that
give classes thresholds of their own hold a row per group of classes, and last the row of all.
"""

from __future__ import annotations

import functools
import math
import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np
import torch

from conformal_plugin.arrays import as_tensor
from conformal_plugin.calibration import Calibration, Guarantee, exact_alpha
from conformal_plugin.errors import (
    EmptyCalibrationError,
    InputTypeError,
    OptionError,
    ShapeError,
)
from conformal_plugin.grid import ScoreGrid, grid_named, grid_of
from conformal_plugin.inputs import LabelledScores, check_ignore_index, rereadable
from conformal_plugin.parallel import in_parallel
from conformal_plugin.ranks import all_reduce, check_total, total_of_ranks
from conformal_plugin.repeats import SeenIds
from conformal_plugin.saved_state import reading
from conformal_plugin.span import Span, index_from_top
from conformal_plugin.true_scores import RecentReadings, TrueScores, read_true_scores
from conformal_plugin.units import Totals, Unit, capped_lcm

__all__ = ["ScoreCounter", "calibrate_with", "listed"]

_STATE_VERSION = 1
_Counter = TypeVar("_Counter", bound="ScoreCounter")

Gains = dict[int, np.ndarray[Any, Any]]
"""By row, how much credit each bin adds."""


def calibrate_with(
    calibrator: ScoreCounter,
    scores: Any,
    labels: Any,
    alpha: float,
    ids: Iterable[Any] | None,
    **options: Any,
) -> Calibration:
    """Count everything with a fresh calibrator; exact where the data can be read again.

    Args:
        calibrator: one that has counted nothing.
        scores, labels, alpha, ids: as in :func:`conformal_plugin.calibrate`.
        options: what the calibrator's ``result`` takes beside alpha.
    """
    exact_alpha(alpha)
    ids = listed(ids)
    if not rereadable(scores, labels):
        calibrator.update(scores, labels, ids)
        return calibrator.result(alpha, **options)
    recent = RecentReadings()
    calibrator._update(scores, labels, ids, recent)
    if recent.complete:
        return calibrator._exactly(alpha, lambda: recent.readings)
    return calibrator.exact_result(scores, labels, alpha, ids=ids, **options)


def listed(ids: Any) -> Any:
    """Ids that can be gone through again; what are no ids is left to be refused."""
    return ids if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable) else list(ids)


class ScoreCounter(ABC):
    """Counts calibration scores in constant memory; the base of all calibrators.

    Sums of integers are what is kept, so merging is associative and commutative to the bit, and
    one pass serves any number of alphas. Where ids are given, one string per image is kept too.

    Args:
        unit: how an image's covered pixels add up.
        ignore_index: label of pixels to leave out.
    """

    _options: ClassVar[tuple[str, ...]] = ("ignore_index",)
    _total_of_ranks = False

    def __init__(self, unit: Unit, *, ignore_index: int) -> None:
        if isinstance(ignore_index, bool) or not isinstance(ignore_index, (int, np.integer)):
            raise OptionError(f"ignore_index must be an integer, got {ignore_index!r}")
        self.ignore_index = int(ignore_index)
        self._unit = unit
        self._grid: ScoreGrid | None = None
        self._credits = np.zeros((0, 0), dtype=np.int64)
        self._pixels = np.zeros(0, dtype=np.int64)
        self._images = np.zeros(0, dtype=np.int64)
        self._size_lcm: list[int] = []
        self._pixels_per_class = np.zeros(0, dtype=np.int64)
        self._images_per_class = np.zeros(0, dtype=np.int64)
        self._ids = SeenIds()

    @property
    def n_pixels(self) -> int:
        """Number of calibration pixels so far."""
        return int(self._pixels_per_class.sum())

    @property
    def n_images(self) -> int:
        """Number of images so far that hold at least one calibration pixel."""
        return int(self._images[-1]) if len(self._images) else 0

    def update(self, scores: Any, labels: Any, ids: Iterable[Any] | None = None) -> None:
        """Count more pixels: any form of scores and labels that ``calibrate`` takes.

        Nothing is counted when any part of the input is refused.

        Args:
            scores: class scores in [0, 1], see :func:`conformal_plugin.calibrate`.
            labels: true classes, in step with ``scores``.
            ids: one per image, in step; images whose id has been counted before are left out.

        Raises:
            InputTypeError, ShapeError, DeviceMismatchError, ScoreError, LabelError: bad input, see
                :mod:`conformal_plugin.errors`; also scores of another dtype or number of classes
                than before, and ids that are not one per image.
        """
        self._update(scores, labels, ids, RecentReadings(most_bytes=0))

    def _update(
        self, scores: Any, labels: Any, ids: Iterable[Any] | None, recent: RecentReadings
    ) -> None:
        fresh = self._empty()
        items = fresh._ids.first_of_each(scores, labels, ids, self._ids.seen)
        for item, read in in_parallel(fresh._read, map(fresh._begun_with, items)):
            with item.named():
                true, rows = read()
            fresh._absorb(true, rows)
            recent.add(true)
        self.merge(fresh)

    def merge(self: _Counter, other: _Counter) -> _Counter:
        """Add the counts of ``other`` to these; returns this calibrator.

        Raises:
            OptionError: made with other options, or the same id counted by both.
            InputTypeError: a calibrator of another kind, or one of scores of another dtype.
            ShapeError: the other has counted another number of classes.
        """
        if type(other) is not type(self):
            raise InputTypeError(
                f"a {type(self).__name__} merges with its own kind, got {type(other).__name__}"
            )
        for name in self._options:
            mine, theirs = getattr(self, name), getattr(other, name)
            if mine != theirs:
                raise OptionError(
                    f"cannot merge calibrators with {name} {mine} and {theirs}; construct both "
                    f"with the same one"
                )
        if other._grid is not None:
            self._begin(other._grid, len(other._pixels_per_class))
        self._ids.merge(other._ids)
        if other._grid is not None:
            self._add_counts(other)
        return self

    def all_reduce(self: _Counter, group: Any = None) -> _Counter:
        """Add up the counts of all ranks on each: :func:`conformal_plugin.ranks.all_reduce`.

        float32 and float64 results are then rounded up by at most ``2**-16``; for the exact one go
        on with :meth:`exact_result_of_ranks`.
        """
        return all_reduce(self, group)

    def result(self, alpha: float = 0.05) -> Calibration:
        """The calibration at ``alpha``; counting may go on afterwards.

        Exact for float16, bfloat16 and integer scores; for float32 and float64 rounded up by at
        most ``2**-16``.

        Raises:
            AlphaError: alpha outside (0, 1).
            EmptyCalibrationError: no pixel has been counted.
        """
        return self._calibration(alpha, *self._qhats(alpha))

    def exact_result(
        self, scores: Any, labels: Any, alpha: float = 0.05, *, ids: Iterable[Any] | None = None
    ) -> Calibration:
        """The calibration at ``alpha`` without rounding, by reading again what was counted.

        float16, bfloat16 and integer scores are not read again, float32 once, float64 up to three
        times.

        Args:
            scores: all that :meth:`update` and :meth:`merge` have counted, in any order.
            labels: the same.
            alpha: miscoverage level in (0, 1).
            ids: the same, where ids were given.

        Raises:
            AlphaError, EmptyCalibrationError: as :meth:`result`.
            OptionError: the data is not the same as the first time.
        """
        return self._exactly(alpha, self._reading_again(scores, labels, ids))

    def exact_result_of_ranks(
        self,
        scores: Any,
        labels: Any,
        alpha: float = 0.05,
        *,
        ids: Iterable[Any] | None = None,
        group: Any = None,
    ) -> Calibration:
        """:meth:`exact_result` where several ranks have counted, each reading its own images again.

        Call it on all ranks of the group, after :meth:`all_reduce`. Where one rank fails, all do.

        Args:
            scores: what this rank has counted, in any order; one that has counted nothing passes
                empty lists.
            labels: the same.
            alpha: miscoverage level in (0, 1), the same on all ranks.
            ids: the same, where ids were given.
            group: as for :meth:`all_reduce`.

        Returns:
            On every rank the calibration of all images, bit for bit that of one process.

        Raises:
            AlphaError, EmptyCalibrationError: as :meth:`result`.
            OptionError: the data is not the same as the first time, :meth:`all_reduce` has not been
                called, or the ranks differ in alpha.
            ConformalError: another rank has failed; says which, and how.
        """
        check_total(self, alpha, group)
        again = self._reading_again(scores, labels, ids)
        return self._exactly(alpha, again, lambda read: total_of_ranks(read, group))

    def _reading_again(
        self, scores: Any, labels: Any, ids: Iterable[Any] | None
    ) -> Callable[[], Iterator[TrueScores]]:
        ids = None if ids is None else list(ids)

        def read_again() -> Iterator[TrueScores]:
            items = SeenIds().first_of_each(scores, labels, ids)
            return (result() for _, result in in_parallel(self._read_scores, items))

        return read_again

    def _exactly(
        self,
        alpha: float,
        again: Callable[[], Iterable[TrueScores]],
        total: Callable[[Callable[[], Gains]], Gains] = lambda read: read(),
    ) -> Calibration:
        return self._calibration(alpha, self._exact_qhats(alpha, again, total), 0.0)

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """All that was counted, as plain arrays that ``numpy.savez`` stores without pickling."""
        return {
            "version": np.array(_STATE_VERSION),
            "kind": np.array(type(self).__name__),
            **{name: _stored(getattr(self, name)) for name in self._options},
            "dtype": np.array(self._grid.name if self._grid else ""),
            "credits": self._credits.copy(),
            "pixels": self._pixels.copy(),
            "images": self._images.copy(),
            "size_lcm": np.array(self._size_lcm, dtype=np.int64),
            "pixels_per_class": self._pixels_per_class.copy(),
            "images_per_class": self._images_per_class.copy(),
            "ids": np.array(sorted(self._ids.seen), dtype=np.str_),
            "repeats": np.array(self._ids.repeats),
        }

    @classmethod
    def from_state(cls: type[_Counter], state: Mapping[str, Any]) -> _Counter:
        """A calibrator that goes on from what :meth:`state` returned.

        Raises:
            CalibrationFileError: a state of another version or kind, or damaged.
        """
        with reading(state, cls.__name__, _STATE_VERSION):
            calibrator = cls(**{name: _restored(state[name]) for name in cls._options})
            calibrator._restore(state)
        return calibrator

    @abstractmethod
    def _calibration(
        self, alpha: float, qhats: np.ndarray[Any, Any], resolution: float
    ) -> Calibration:
        """The result, given the threshold of each row."""

    def _result(
        self, alpha: float, qhat: Any, guarantee: Guarantee, resolution: float, **more: Any
    ) -> Calibration:
        """A calibration with what was counted, and with ``more`` of its fields."""
        return Calibration(
            qhat=qhat,
            alpha=float(exact_alpha(alpha)),
            guarantee=guarantee,
            ignore_index=self.ignore_index,
            n_pixels=self.n_pixels,
            n_images=self.n_images,
            pixels_per_class=self._pixels_per_class,
            images_per_class=self._images_per_class,
            resolution=resolution,
            n_repeats=self._ids.repeats,
            **more,
        )

    def _group_of_class(self, num_classes: int) -> np.ndarray[Any, Any] | None:
        """Each class's row, -1 where it has none of its own; None where all share one row."""
        return None

    def _empty(self: _Counter) -> _Counter:
        return type(self)(**{name: getattr(self, name) for name in self._options})

    def _begin(self, grid: ScoreGrid, num_classes: int) -> None:
        """Fix dtype and number of classes at the first count; hold later ones to them."""
        if self._grid is None:
            check_ignore_index(self.ignore_index, num_classes)
            groups = self._group_of_class(num_classes)
            rows = 1 if groups is None else int(groups.max()) + 2
            self._grid = grid
            self._credits = np.zeros((rows, grid.size), dtype=np.int64)
            self._pixels = np.zeros(rows, dtype=np.int64)
            self._images = np.zeros(rows, dtype=np.int64)
            self._size_lcm = [1] * rows
            self._pixels_per_class = np.zeros(num_classes, dtype=np.int64)
            self._images_per_class = np.zeros(num_classes, dtype=np.int64)
        if grid.name != self._grid.name:
            raise InputTypeError(
                f"scores must all have one dtype: {self._grid.name} came first, now {grid.name}; "
                f"convert them all to one, float32 if in doubt"
            )
        if num_classes != len(self._pixels_per_class):
            raise ShapeError(
                f"scores must all have the same number of classes: {len(self._pixels_per_class)} "
                f"came first, now {num_classes}; check that all come from one annotator"
            )

    def _add_counts(self: _Counter, other: _Counter) -> None:
        for row in np.flatnonzero(other._images):  # few of many rows, after one image
            self._credits[row] += other._credits[row]
        self._pixels += other._pixels
        self._images += other._images
        self._size_lcm = [capped_lcm(*pair) for pair in zip(self._size_lcm, other._size_lcm)]
        self._pixels_per_class += other._pixels_per_class
        self._images_per_class += other._images_per_class

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._ids = SeenIds({str(name) for name in state["ids"]}, int(state["repeats"]))
        if str(state["dtype"]):
            self._begin(grid_named(str(state["dtype"])), len(state["pixels_per_class"]))
            self._credits += state["credits"]
            self._pixels += state["pixels"]
            self._images += state["images"]
            self._size_lcm = [int(multiple) for multiple in state["size_lcm"]]
            self._pixels_per_class += state["pixels_per_class"]
            self._images_per_class += state["images_per_class"]

    def _begun_with(self, item: LabelledScores) -> LabelledScores:
        with item.named():
            self._begin(grid_of(item.scores), item.scores.shape[0])
        return item

    def _read(
        self, item: LabelledScores
    ) -> tuple[TrueScores, list[tuple[int, np.ndarray[Any, Any]]]]:
        """What an image holds and adds; touches nothing here, so that threads can share it."""
        true = self._read_scores(item)
        grid = grid_of(item.scores)
        return true, list(self._histograms(true, grid)) if true.pixels.any() else []

    def _read_scores(self, item: LabelledScores) -> TrueScores:
        return read_true_scores(item, self.ignore_index, grid_of(item.scores))

    def _absorb(self, true: TrueScores, rows: list[tuple[int, np.ndarray[Any, Any]]]) -> None:
        self._pixels_per_class += true.pixels
        self._images_per_class += true.pixels if true.points else true.pixels > 0
        for row, counts in rows:
            self._add(row, counts, points=true.points)

    def _histograms(
        self, true: TrueScores, grid: ScoreGrid
    ) -> Iterator[tuple[int, np.ndarray[Any, Any]]]:
        """The counts of codes, ``(size,)``, in each row that the image has pixels for."""
        groups = self._group_of_class(len(true.pixels))
        if groups is None:
            yield 0, grid.histogram(true.patterns)
            return
        size, codes = grid.size, grid.codes_of(as_tensor(true.patterns))
        present = np.unique(groups[(true.pixels > 0) & (groups >= 0)])
        # Each class's place among the rows that this image has; those without a row come last,
        # and ignored pixels beyond them.
        places = np.where(groups < 0, len(present), np.searchsorted(present, groups))
        lookup = torch.from_numpy(np.append(places, len(present) + 1)).to(codes.device)
        keys = lookup[as_tensor(true.classes).long()] * size + codes
        end = (len(present) + 1) * size
        joint = torch.bincount(keys, minlength=end)[:end].cpu().numpy().reshape(-1, size)
        yield from zip(present.tolist(), joint[:-1])
        yield len(self._images) - 1, joint.sum(axis=0)

    def _add(self, row: int, counts: np.ndarray[Any, Any], *, points: bool) -> None:
        """Add one image's counts of codes, or those of separate points, to a row."""
        pixels = int(counts.sum())
        self._credits[row] += self._gains(counts, pixels, points=points)
        self._pixels[row] += pixels
        self._images[row] += pixels if points else 1
        if not points:
            self._size_lcm[row] = capped_lcm(self._size_lcm[row], pixels)

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

    def _begun(self) -> ScoreGrid:
        if self._grid is None or self.n_pixels == 0:
            raise EmptyCalibrationError(
                f"the calibration set holds no labelled pixel: every label is {self.ignore_index} "
                f"or nothing was passed; check ignore_index and that the label files are not blank"
            )
        return self._grid

    def _needed(self, row: int, alpha: float) -> int:
        totals = Totals(int(self._pixels[row]), int(self._images[row]), self._size_lcm[row])
        return self._unit.need(totals, alpha)

    def _code_at(self, row: int, alpha: float) -> int | None:
        """Code of the score that the row's q-hat comes from; None when no code gives enough."""
        needed = self._needed(row, alpha)
        credits = self._credits[row]
        return None if needed > int(credits.sum()) else index_from_top(credits, needed)

    def _qhats(self, alpha: float) -> tuple[np.ndarray[Any, Any], float]:
        """Each row's threshold, and by how much they may have been rounded up."""
        exact_alpha(alpha)
        grid = self._begun()
        codes = [self._code_at(row, alpha) for row in range(len(self._images))]
        qhats = [math.inf if code is None else 1.0 - grid.lower_edge(code) for code in codes]
        finite = any(code is not None for code in codes)
        return np.array(qhats), grid.resolution if finite else 0.0

    def _exact_qhats(
        self,
        alpha: float,
        again: Callable[[], Iterable[TrueScores]],
        total: Callable[[Callable[[], Gains]], Gains],
    ) -> np.ndarray[Any, Any]:
        """Each row's threshold, from reading the scores ``again``; ``total`` adds up readings."""
        qhats, resolution = self._qhats(alpha)
        if resolution == 0.0:
            return qhats
        grid = self._begun()
        spans = {}
        for row in range(len(qhats)):
            code = self._code_at(row, alpha)
            if code is not None:
                credits = self._credits[row]
                needed = self._needed(row, alpha) - int(credits[code + 1 :].sum())
                spans[row] = Span(*grid.pattern_range(code), needed, int(credits[code]))
        while unfinished := {row: s for row, s in spans.items() if s.first < s.last}:
            gains = total(functools.partial(self._gains_within, unfinished, again))
            for row, span in unfinished.items():
                span.narrow(gains[row])
        for row, span in spans.items():
            qhats[row] = 1.0 - grid.value(span.first)
        return qhats

    def _gains_within(
        self, spans: Mapping[int, Span], again: Callable[[], Iterable[TrueScores]]
    ) -> Gains:
        """The gains of all images in the bins of each row's span."""
        gains = {row: np.zeros(span.bins, dtype=np.int64) for row, span in spans.items()}
        for true in again():
            self._add_gains_within(spans, true, gains)
        return gains

    def _add_gains_within(
        self,
        spans: Mapping[int, Span],
        true: TrueScores,
        gains: Mapping[int, np.ndarray[Any, Any]],
    ) -> None:
        """An image's gains in the bins of each row's span."""
        num_classes = len(true.pixels)
        groups = self._group_of_class(num_classes)
        present = set() if groups is None else set(groups[true.pixels > 0].tolist())
        last = len(self._images) - 1
        for row, span in spans.items():
            if row == last:  # the row of all
                total, members = int(true.pixels.sum()), true.classes != num_classes
            elif row in present:
                mine = np.flatnonzero(groups == row).tolist()
                total = int(true.pixels[mine].sum())
                members = functools.reduce(operator.or_, (true.classes == c for c in mine))
            else:
                continue
            bins, counts = span.counts(true.patterns, members)
            if len(bins):
                # Only a unit in which pixels do not simply add up asks what lies above.
                above = 0 if self._unit.additive else span.above(true.patterns, members)
                gain = self._gains(counts, total, points=true.points, above=above)
                gains[row][bins] += gain


def _stored(option: Any) -> np.ndarray[Any, Any]:
    return np.array("" if option is None else option)


def _restored(option: Any) -> Any:
    value = np.asarray(option).tolist()
    return None if value == "" else value
