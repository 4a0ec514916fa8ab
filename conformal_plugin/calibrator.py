"""Calibrate per pixel: count the true classes' scores, read q-hat off the counts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.calibration import Calibration, Guarantee, conformal_rank, exact_alpha
from conformal_plugin.errors import (
    CalibrationFileError,
    EmptyCalibrationError,
    InputTypeError,
    OptionError,
    ShapeError,
)
from conformal_plugin.grid import ScoreGrid, grid_named, grid_of
from conformal_plugin.inputs import (
    LabelledScores,
    check_codes,
    check_ignore_index,
    class_indices,
    labelled_images,
    rereadable,
    true_scores,
)

__all__ = ["Calibrator", "calibrate"]

_STATE_VERSION = 1
_SUB_BINS = 16  # bits: how many times a second reading divides a bin


def calibrate(
    scores: Any, labels: Any, alpha: float = 0.05, *, ignore_index: int = 255
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
            or an iterable of ``(K, H_i, W_i)`` with images of different sizes. NumPy arrays, torch
            tensors on any device, or anything that speaks DLPack; float16, bfloat16, float32,
            float64, or 8- and 16-bit integers, scaled by the largest value of their dtype (255
            for uint8).
        labels: true classes ``(H, W)``, ``(N, H, W)``, ``(N,)``, or an iterable in step with
            ``scores``, of any integer dtype.
        alpha: miscoverage level in (0, 1): 0.05 asks that 95 % of pixels have their true class in
            the prediction set.
        ignore_index: label of pixels to leave out.

    Returns:
        The calibration. Its guarantee is heuristic for images (the pixels of one image are not
        independent) and exact for separate points.

    Raises:
        AlphaError, InputTypeError, ShapeError, DeviceMismatchError, ScoreError, LabelError: see
            :mod:`conformal_plugin.errors`; each message says what to do.
        EmptyCalibrationError: no pixel is labelled.

    Example:
        >>> import numpy as np
        >>> scores = np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.2, 0.8]])
        >>> calibrate(scores, np.array([0, 1, 1, 1]), alpha=0.4).qhat
        0.4
    """
    exact_alpha(alpha)
    calibrator = Calibrator(ignore_index=ignore_index)
    calibrator.update(scores, labels)
    if not rereadable(scores, labels):
        return calibrator.result(alpha)
    return calibrator.exact_result(scores, labels, alpha)


class Calibrator:
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
        self.ignore_index = _checked_ignore_index(ignore_index)
        self._grid: ScoreGrid | None = None
        self._counts = np.zeros(0, dtype=np.int64)
        self._pixels_per_class = np.zeros(0, dtype=np.int64)
        self._images_per_class = np.zeros(0, dtype=np.int64)
        self._images = 0

    @property
    def n_pixels(self) -> int:
        """Number of calibration pixels so far."""
        return int(self._counts.sum())

    @property
    def n_images(self) -> int:
        """Number of images so far that hold at least one calibration pixel."""
        return self._images

    def update(self, scores: Any, labels: Any) -> None:
        """Count more pixels: any form of scores and labels that :func:`calibrate` takes.

        Nothing is counted when any part of the input is refused.

        Raises:
            InputTypeError, ShapeError, DeviceMismatchError, ScoreError, LabelError: as
                :func:`calibrate`; also scores of another dtype or number of classes than before.
        """
        fresh = Calibrator(ignore_index=self.ignore_index)
        for item in labelled_images(scores, labels):
            with item.named():
                fresh._count(item)
        self.merge(fresh)

    def merge(self, other: Calibrator) -> Calibrator:
        """Add the counts of ``other`` to these; returns this calibrator.

        Raises:
            OptionError: another ignore index.
            InputTypeError: the other has counted scores of another dtype.
            ShapeError: the other has counted another number of classes.
        """
        if other.ignore_index != self.ignore_index:
            raise OptionError(
                f"cannot merge calibrators with ignore_index {self.ignore_index} and "
                f"{other.ignore_index}; construct both with the same one"
            )
        if other._grid is None:
            return self
        self._begin(other._grid, len(other._pixels_per_class))
        self._counts += other._counts
        self._pixels_per_class += other._pixels_per_class
        self._images_per_class += other._images_per_class
        self._images += other._images
        return self

    def result(self, alpha: float = 0.05) -> Calibration:
        """The calibration at ``alpha``; counting may go on afterwards.

        Exact for float16, bfloat16 and integer scores; for float32 and float64 rounded up by at
        most ``2**-16``.

        Raises:
            AlphaError: alpha outside (0, 1).
            EmptyCalibrationError: no pixel has been counted.
        """
        code = self._code_at(alpha)
        if code is None:
            return self._calibration(alpha, math.inf, 0.0)
        grid = self._begun()
        return self._calibration(alpha, 1.0 - grid.lower_edge(code), grid.resolution)

    def exact_result(self, scores: Any, labels: Any, alpha: float = 0.05) -> Calibration:
        """The exact calibration at ``alpha``, by reading again the data that was counted.

        float16, bfloat16 and integer scores are not read again, float32 once, float64 up to three
        times.

        Args:
            scores: all that :meth:`update` and :meth:`merge` have counted, in any order.
            labels: the same.
            alpha: miscoverage level in (0, 1).

        Raises:
            AlphaError, EmptyCalibrationError: as :meth:`result`.
            OptionError: the data is not the same as the first time.
        """
        calibration = self.result(alpha)
        code = self._code_at(alpha)
        if code is None or calibration.resolution == 0.0:
            return calibration
        grid = self._begun()
        # Counted from the largest score: how many with this code come before the one that is meant.
        rank = conformal_rank(self.n_pixels, alpha) - int(self._counts[code + 1 :].sum())
        held = int(self._counts[code])
        first, last = grid.pattern_range(code)
        while first < last:
            shift = max(0, (last - first).bit_length() - _SUB_BINS)
            counts = self._count_patterns(scores, labels, first, last, shift)
            if int(counts.sum()) != held:
                raise OptionError(
                    f"the second reading gave {int(counts.sum())} scores where the first gave "
                    f"{held}: pass data that is the same each time it is read, without random "
                    f"augmentation, or calibrate from an iterator in one pass"
                )
            index = _index_from_top(counts, rank)
            rank -= int(counts[index + 1 :].sum())
            held = int(counts[index])
            first += index << shift
            last = min(last, first + (1 << shift) - 1)
        return replace(calibration, qhat=1.0 - grid.value(first), resolution=0.0)

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """All that was counted, as plain arrays that ``numpy.savez`` stores without pickling."""
        return {
            "version": np.array(_STATE_VERSION),
            "ignore_index": np.array(self.ignore_index),
            "dtype": np.array(self._grid.name if self._grid else ""),
            "counts": self._counts.copy(),
            "pixels_per_class": self._pixels_per_class.copy(),
            "images_per_class": self._images_per_class.copy(),
            "images": np.array(self._images),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Calibrator:
        """A calibrator that goes on from what :meth:`state` returned.

        Raises:
            CalibrationFileError: a state of another version, or damaged.
        """
        try:
            version = int(state["version"])
            if version != _STATE_VERSION:
                raise CalibrationFileError(
                    f"this calibrator state is of version {version} and this release reads version "
                    f"{_STATE_VERSION}; start the calibration anew"
                )
            calibrator = cls(ignore_index=int(state["ignore_index"]))
            if str(state["dtype"]):
                calibrator._begin(grid_named(str(state["dtype"])), len(state["pixels_per_class"]))
                calibrator._counts += state["counts"]
                calibrator._pixels_per_class += state["pixels_per_class"]
                calibrator._images_per_class += state["images_per_class"]
                calibrator._images = int(state["images"])
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, CalibrationFileError):
                raise
            raise CalibrationFileError(
                f"this calibrator state is damaged ({type(error).__name__}: {error}); start the "
                f"calibration anew"
            ) from error
        return calibrator

    def _begin(self, grid: ScoreGrid, num_classes: int) -> None:
        """Fix dtype and number of classes at the first count; hold later ones to them."""
        if self._grid is None:
            check_ignore_index(self.ignore_index, num_classes)
            self._grid = grid
            self._counts = np.zeros(grid.size, dtype=np.int64)
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

    def _count(self, item: LabelledScores) -> None:
        num_classes = item.scores.shape[0]
        grid = grid_of(item.scores)
        self._begin(grid, num_classes)
        codes, used, indices = _true_codes(item, grid, self.ignore_index)
        counts = torch.bincount(
            torch.where(used, codes, grid.size).flatten(), minlength=grid.size + 1
        )
        per_class = torch.bincount(indices.flatten(), minlength=num_classes + 1)[:num_classes]
        pixels = per_class.cpu().numpy()
        self._counts += counts[: grid.size].cpu().numpy()
        self._pixels_per_class += pixels
        if item.points:
            self._images_per_class += pixels
            self._images += int(pixels.sum())
        else:
            self._images_per_class += pixels > 0
            self._images += int(pixels.any())

    def _count_patterns(
        self, scores: Any, labels: Any, first: int, last: int, shift: int
    ) -> np.ndarray[Any, Any]:
        """Counts of the used scores with a pattern in ``first ... last``, ``2**shift`` a bin."""
        size = ((last - first) >> shift) + 1
        total = np.zeros(size, dtype=np.int64)
        for item in labelled_images(scores, labels):
            indices = class_indices(item, self.ignore_index)
            patterns = self._begun().patterns(true_scores(item, indices))
            inside = (patterns >= first) & (patterns <= last) & (indices < item.scores.shape[0])
            bins = (patterns[inside] - first) >> shift
            total += torch.bincount(bins, minlength=size).cpu().numpy()
        return total

    def _begun(self) -> ScoreGrid:
        if self._grid is None or self.n_pixels == 0:
            raise EmptyCalibrationError(
                f"the calibration set holds no labelled pixel: every label is {self.ignore_index} "
                f"or nothing was passed; check ignore_index and that the label files are not blank"
            )
        return self._grid

    def _code_at(self, alpha: float) -> int | None:
        """Code of the score that q-hat comes from; None when the rank exceeds the count."""
        exact_alpha(alpha)
        self._begun()
        rank = conformal_rank(self.n_pixels, alpha)
        return None if rank > self.n_pixels else _index_from_top(self._counts, rank)

    def _calibration(self, alpha: float, qhat: float, resolution: float) -> Calibration:
        return Calibration(
            qhat=qhat,
            alpha=float(exact_alpha(alpha)),
            guarantee=_guarantee(alpha, points=self._images == self.n_pixels),
            ignore_index=self.ignore_index,
            n_pixels=self.n_pixels,
            n_images=self._images,
            pixels_per_class=self._pixels_per_class,
            images_per_class=self._images_per_class,
            resolution=resolution,
        )


def _true_codes(
    item: LabelledScores, grid: ScoreGrid, ignore_index: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Codes of the true classes' scores, which pixels are used, and the class indices."""
    indices = class_indices(item, ignore_index)
    used = indices < item.scores.shape[0]
    raw = true_scores(item, indices)
    codes = grid.codes(raw)
    check_codes(codes, raw, used, grid)
    return codes, used, indices


def _index_from_top(counts: np.ndarray[Any, Any], rank: int) -> int:
    """The index that holds the ``rank``-th item counted from the largest index."""
    from_top = np.cumsum(counts[::-1])
    return len(counts) - 1 - int(np.searchsorted(from_top, rank))


def _guarantee(alpha: float, *, points: bool) -> Guarantee:
    share = f"{100 * (1 - float(alpha)):g} %"
    if points:
        return Guarantee(
            "marginal",
            "point",
            True,
            f"A new exchangeable point has its true class in the prediction set with probability "
            f"at least {share}.",
        )
    return Guarantee(
        "pixel-marginal",
        "pixel",
        False,
        f"On average over calibration sets about {share} of pixels have their true class in the "
        f"prediction set. Heuristic: the pixels of one image are not independent, so the spread "
        f"is that of the number of images, not of pixels.",
    )


def _checked_ignore_index(ignore_index: int) -> int:
    if isinstance(ignore_index, bool) or not isinstance(ignore_index, (int, np.integer)):
        raise OptionError(f"ignore_index must be an integer, got {ignore_index!r}")
    return int(ignore_index)
