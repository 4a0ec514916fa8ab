"""Counting labelled scores as they stream by: what all calibrations share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

import numpy as np

from conformal_plugin.calibration._group_counts import GroupCounts, GroupPart
from conformal_plugin.calibration._grouped_rows import GroupedRows
from conformal_plugin.calibration._guarantee import Guarantee
from conformal_plugin.calibration._qhat import ReadAgain, Total, counted, read_again
from conformal_plugin.calibration._quantile import exact_alpha
from conformal_plugin.calibration._result import Calibration
from conformal_plugin.calibration._saved_state import reading, restored, stored
from conformal_plugin.calibration._score_rows import ScoreRows
from conformal_plugin.calibration._units import Unit
from conformal_plugin.errors import (
    EmptyCalibrationError,
    InputTypeError,
    OptionError,
    ShapeError,
)
from conformal_plugin.processes import all_reduce, check_total, in_parallel, total_of_ranks
from conformal_plugin.scores import (
    LabelContent,
    LabelledScores,
    RecentReadings,
    ScoreGrid,
    SeenIds,
    TrueScores,
    check_ignore_index,
    elsewhere,
    grid_named,
    grid_of,
    one_kind,
    read_true_scores,
)

__all__ = ["ScoreCounter", "add_reading"]

_STATE_VERSION = 1
_GROUPED_STATE_VERSION = 2
"""Of states with groups, which a release that knows none must not read."""
_Counter = TypeVar("_Counter", bound="ScoreCounter")


class ScoreCounter(ABC):
    """Counts calibration scores in constant memory; the base of all calibrators.

    Sums of integers are what is kept, so merging is associative and commutative to the bit, and
    one pass serves any number of alphas. Where ids are given, one string per image is kept too, and
    where groups are, what each group has counted at the score codes that it holds.

    Args:
        unit: how an image's covered pixels add up.
        ignore_index: label of pixels to leave out.

    Raises:
        OptionError: ``ignore_index`` is no integer.
    """

    _options: ClassVar[tuple[str, ...]] = ("ignore_index",)
    _total_of_ranks = False
    _volumes: bool | None = None  # of the class, for pickles of earlier versions

    def __init__(self, unit: Unit, *, ignore_index: int) -> None:
        if isinstance(ignore_index, bool) or not isinstance(ignore_index, (int, np.integer)):
            raise OptionError(f"ignore_index must be an integer, got {ignore_index!r}")
        self.ignore_index = int(ignore_index)
        self._unit = unit
        self._rows: ScoreRows | None = None
        self._pixels_per_class = np.zeros(0, dtype=np.int64)
        self._images_per_class = np.zeros(0, dtype=np.int64)
        self._ids = SeenIds()
        self._by_group = GroupCounts()
        self._content = LabelContent()

    def __setstate__(self, pickled: dict[str, Any]) -> None:
        # What release 0.1.0 pickled knows no groups, and its images' labels by their sums alone.
        since = {"_by_group": GroupCounts(), "_content": LabelContent(None)}
        vars(self).update({**since, **pickled})

    @property
    def n_pixels(self) -> int:
        """Number of calibration pixels so far."""
        return int(self._pixels_per_class.sum())

    @property
    def n_images(self) -> int:
        """Number of images so far that hold at least one calibration pixel."""
        return 0 if self._rows is None else int(self._rows.images[-1])

    @property
    def n_groups(self) -> int | None:
        """Number of groups so far that hold at least one calibration pixel; None without groups."""
        return len(self._by_group) or None

    def update(
        self,
        scores: Any,
        labels: Any,
        ids: Iterable[Any] | None = None,
        groups: Any = None,
    ) -> None:
        """Count more pixels: any form of scores and labels that ``calibrate`` takes.

        Nothing is counted when any part of the input is refused.

        Args:
            scores: class scores in [0, 1], see :func:`conformal_plugin.calibrate`.
            labels: true classes, in step with ``scores``.
            ids: one per image, in step; images whose id has been counted before are left out.
            groups: one per image, in step, or a mapping from id to group; see
                :func:`conformal_plugin.calibrate`. The images of a group may come in any order
                and in several calls.

        Raises:
            InputTypeError, ShapeError, DeviceMismatchError, ScoreError, LabelError: bad input, see
                :mod:`conformal_plugin.errors`; also scores of another dtype or number of classes
                than before, and ids or groups that are not one per image.
            OptionError: groups here and none before, or the other way round; an image without one.
        """
        self._update(scores, labels, ids, groups, RecentReadings(most_bytes=0))

    def _update(
        self,
        scores: Any,
        labels: Any,
        ids: Iterable[Any] | None,
        groups: Any,
        recent: RecentReadings,
    ) -> None:
        fresh = self._empty()
        items = fresh._ids.first_of_each(scores, labels, ids, self._ids.seen, groups)
        begun = map(fresh._begun_with, items)
        for item, read in in_parallel(fresh._read, begun, here=elsewhere):
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
        if self.n_images and other.n_images and (self.n_groups is None) != (other.n_groups is None):
            raise OptionError(
                "some images came with groups and some without; pass groups for all of them, a "
                "group of its own for an image that is alone, or for none"
            )
        if other._rows is not None:
            self._begin(other._rows.grid, len(other._pixels_per_class))
            self._volumes = one_kind(self._volumes, bool(other._volumes))
        self._ids.merge(other._ids)
        if other._rows is not None:
            self._add_counts(other)
        return self

    def all_reduce(self: _Counter, group: Any = None) -> _Counter:
        """Add up the counts of all ranks on each: :func:`conformal_plugin.processes.all_reduce`.

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
        exact_alpha(alpha)
        return self._calibration(alpha, *counted(self._observed(), alpha))

    def exact_result(
        self,
        scores: Any,
        labels: Any,
        alpha: float = 0.05,
        *,
        ids: Iterable[Any] | None = None,
        groups: Any = None,
    ) -> Calibration:
        """The calibration at ``alpha`` without rounding, by reading again what was counted.

        float16, bfloat16 and integer scores are not read again, float32 once, float64 up to three
        times.

        Args:
            scores: all that :meth:`update` and :meth:`merge` have counted, in any order.
            labels: the same.
            alpha: miscoverage level in (0, 1).
            ids: the same, where ids were given.
            groups: the same, where groups were given.

        Raises:
            AlphaError, EmptyCalibrationError: as :meth:`result`.
            OptionError: the data is not the same as the first time.
        """
        return self._exactly(alpha, self._reading_again(scores, labels, ids, groups))

    def exact_result_of_ranks(
        self,
        scores: Any,
        labels: Any,
        alpha: float = 0.05,
        *,
        ids: Iterable[Any] | None = None,
        groups: Any = None,
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
            groups: the same, where groups were given; the images of each group all on one rank.
            group: of processes, as for :meth:`all_reduce`.

        Returns:
            On every rank the calibration of all images, bit for bit that of one process.

        Raises:
            AlphaError, EmptyCalibrationError: as :meth:`result`.
            OptionError: the data is not the same as the first time, :meth:`all_reduce` has not been
                called, the ranks differ in alpha, or several of them have images of one group.
            ConformalError: another rank has failed; says which, and how.
        """
        check_total(self, alpha, group)
        again = self._reading_again(scores, labels, ids, groups)
        return self._exactly(alpha, again, lambda read: total_of_ranks(read, group))

    def _reading_again(
        self, scores: Any, labels: Any, ids: Iterable[Any] | None, groups: Any
    ) -> Callable[[], Iterator[TrueScores]]:
        ids = None if ids is None else list(ids)
        if groups is not None and not isinstance(groups, Mapping):
            groups = list(groups)
        if (groups is None) != (self.n_groups is None):
            raise OptionError(
                "groups must be given where images are counted and where they are read again, or "
                "in neither place"
            )

        def read_again() -> Iterator[TrueScores]:
            items = SeenIds().first_of_each(scores, labels, ids, groups=groups)
            readings = in_parallel(self._read_scores, items, here=elsewhere)
            return (result() for _, result in readings)

        return read_again

    def _exactly(
        self,
        alpha: float,
        again: ReadAgain,
        total: Total = lambda read: read(),
    ) -> Calibration:
        exact_alpha(alpha)
        return self._calibration(alpha, read_again(self._observed(), alpha, again, total), 0.0)

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """All that was counted, as plain arrays that ``numpy.savez`` stores without pickling."""
        return {
            "version": np.array(_GROUPED_STATE_VERSION if self.n_groups else _STATE_VERSION),
            "kind": np.array(type(self).__name__),
            **{name: stored(getattr(self, name)) for name in self._options},
            "dtype": np.array("" if self._rows is None else self._rows.grid.name),
            **({} if self._rows is None else self._rows.state()),
            "pixels_per_class": self._pixels_per_class.copy(),
            "images_per_class": self._images_per_class.copy(),
            "ids": np.array(sorted(self._ids.seen), dtype=np.str_),
            "repeats": np.array(self._ids.repeats),
            "volumes": np.array(bool(self._volumes)),
            **self._content.state(),
            **self._by_group.state(),
        }

    @classmethod
    def from_state(cls: type[_Counter], state: Mapping[str, Any]) -> _Counter:
        """A calibrator that goes on from what :meth:`state` returned.

        Raises:
            CalibrationFileError: a state of another version or kind, or damaged.
        """
        version = _GROUPED_STATE_VERSION if "groups" in state else _STATE_VERSION
        with reading(state, cls.__name__, version):
            calibrator = cls(**{name: restored(state[name]) for name in cls._options})
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
            guarantee=guarantee.of_volumes() if self._volumes else guarantee,
            ignore_index=self.ignore_index,
            n_pixels=self.n_pixels,
            n_images=self.n_images,
            pixels_per_class=self._pixels_per_class,
            images_per_class=self._images_per_class,
            resolution=resolution,
            n_repeats=self._ids.repeats,
            n_groups=self.n_groups,
            groups_per_class=self._by_group.groups_per_class if self.n_groups else None,
            label_content=self._content.total,
            **more,
        )

    def _group_of_class(self, num_classes: int) -> np.ndarray[Any, Any] | None:
        """Each class's row, -1 where it has none of its own; None where all share one row."""
        return None

    def _empty(self: _Counter) -> _Counter:
        return type(self)(**{name: getattr(self, name) for name in self._options})

    def _begin(self, grid: ScoreGrid, num_classes: int) -> None:
        """Fix dtype and number of classes at the first count; hold later ones to them."""
        if self._rows is None:
            check_ignore_index(self.ignore_index, num_classes)
            self._rows = ScoreRows(grid, self._unit, self._group_of_class(num_classes))
            self._pixels_per_class = np.zeros(num_classes, dtype=np.int64)
            self._images_per_class = np.zeros(num_classes, dtype=np.int64)
        first = self._rows.grid
        if grid.name != first.name:
            raise InputTypeError(
                f"scores must all have one dtype: {first.name} came first, now {grid.name}; "
                f"convert them all to one, float32 if in doubt"
            )
        if num_classes != len(self._pixels_per_class):
            raise ShapeError(
                f"scores must all have the same number of classes: {len(self._pixels_per_class)} "
                f"came first, now {num_classes}; check that all come from one annotator"
            )

    def _add_counts(self: _Counter, other: _Counter) -> None:
        self._counted().merge(other._counted())
        self._by_group.merge(other._by_group)
        self._content.merge(other._content)
        self._pixels_per_class += other._pixels_per_class
        self._images_per_class += other._images_per_class

    def _restore(self, state: Mapping[str, Any]) -> None:
        self._ids = SeenIds({str(name) for name in state["ids"]}, int(state["repeats"]))
        self._by_group = GroupCounts.from_state(state)
        self._content = LabelContent.from_state(state, counted=bool(str(state["dtype"])))
        if str(state["dtype"]):
            self._begin(grid_named(str(state["dtype"])), len(state["pixels_per_class"]))
            self._volumes = bool(state.get("volumes", False))
            self._counted().restore(state)
            self._pixels_per_class += state["pixels_per_class"]
            self._images_per_class += state["images_per_class"]

    def _begun_with(self, item: LabelledScores) -> LabelledScores:
        with item.named():
            self._begin(grid_of(item.scores), item.scores.shape[0])
            self._volumes = one_kind(self._volumes, item.volume)
        return item

    def _read(
        self, item: LabelledScores
    ) -> tuple[TrueScores, list[tuple[int, np.ndarray[Any, Any]]]]:
        """What an image holds and adds; touches nothing here, so that threads can share it."""
        true = self._read_scores(item)
        return true, list(self._counted().histograms(true)) if true.pixels.any() else []

    def _read_scores(self, item: LabelledScores) -> TrueScores:
        return read_true_scores(item, self.ignore_index, grid_of(item.scores))

    def _absorb(self, true: TrueScores, rows: list[tuple[int, np.ndarray[Any, Any]]]) -> None:
        self._pixels_per_class += true.pixels
        self._images_per_class += true.pixels if true.points else true.pixels > 0
        if true.points:
            self._content.forget()
        elif true.pixels.any():
            self._content.add(true.pixels)
        if true.group is not None and true.pixels.any():
            self._by_group.hold(true.group, true.pixels > 0)
        for row, counts in rows:
            self._add(row, counts, points=true.points, group=true.group)

    def _add(
        self, row: int, counts: np.ndarray[Any, Any], *, points: bool, group: str | None
    ) -> None:
        """Add one image's counts of codes, or those of separate points, to a row."""
        gains = self._counted().add(row, counts, points=points)
        if group is not None and self._per_group:
            pixels, codes = int(counts.sum()), np.flatnonzero(gains)
            images, multiple = (pixels, 1) if points else (1, pixels)
            part = GroupPart(codes, gains[codes], images, pixels, multiple)
            self._by_group.add(group, row, part)

    @property
    def _per_group(self) -> bool:
        """Whether what a group has counted matters, beside which classes it holds."""
        return not self._unit.additive

    @property
    def _unit_name(self) -> str:
        """What is exchangeable: ``"group"`` where there are any, else ``"image"``."""
        return "group" if self.n_groups else "image"

    @property
    def _units_per_class(self) -> np.ndarray[Any, Any]:
        """Groups, or without groups images, that hold each class."""
        return self._by_group.groups_per_class if self.n_groups else self._images_per_class

    def _observed(self) -> ScoreRows:
        """The rows that q-hat is read off: of groups where there are any."""
        rows = self._begun()
        return GroupedRows(rows, self._by_group) if self.n_groups and self._per_group else rows

    def _counted(self) -> ScoreRows:
        assert self._rows is not None, "nothing has been counted"
        return self._rows

    def _begun(self) -> ScoreRows:
        if self._rows is None or self.n_pixels == 0:
            raise EmptyCalibrationError(
                f"the calibration set holds no labelled pixel: every label is {self.ignore_index} "
                f"or nothing was passed; check ignore_index and that the label files are not blank"
            )
        return self._rows


def add_reading(calibrator: ScoreCounter, item: LabelledScores, true: TrueScores) -> None:
    """Count an image whose true scores have been read already.

    Args:
        calibrator: what counts.
        item: the image, with the group that it belongs to.
        true: its true classes' scores.

    Raises:
        InputTypeError, ShapeError, OptionError: as ``update``.
    """
    fresh = calibrator._empty()
    fresh._begin(grid_of(item.scores), item.scores.shape[0])
    fresh._volumes = item.volume
    fresh._absorb(true, list(fresh._counted().histograms(true)) if true.pixels.any() else [])
    calibrator.merge(fresh)
