"""Measure on labelled images: coverage, set size, and what the kept labels are worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.arrays import as_tensor
from conformal_plugin.compiled import loops_for
from conformal_plugin.cpu_labels import Patterns, label_part, map_parts, patterns_of
from conformal_plugin.errors import EmptyCalibrationError, OptionError, ShapeError
from conformal_plugin.filtering import (
    check_range,
    check_rule,
    class_thresholds,
    extremes,
    in_set,
    label_dtype,
    label_maps,
    least_patterns,
    promised_rule,
)
from conformal_plugin.grid import ScoreGrid, grid_of
from conformal_plugin.inputs import LabelledScores, check_ignore_index, labelled_images
from conformal_plugin.parallel import in_parallel
from conformal_plugin.ranks import all_reduce
from conformal_plugin.true_scores import TrueScores, read_true_scores

__all__ = ["PER_IMAGE", "Evaluation", "Evaluator", "evaluate"]

# Names of the arrays of an Evaluation that hold one number per image.
PER_IMAGE = ("image_pixels", "image_covered", "image_kept", "image_wrong")


def evaluate(
    masks: Any,
    labels: Any,
    qhat: Any,
    *,
    rule: str | None = None,
    background: int | None = None,
    ignore_index: int = 255,
) -> Evaluation:
    """Compare an annotator's maps, filtered at ``qhat``, with true labels.

    Args:
        masks: class scores in [0, 1], in any form that :func:`conformal_plugin.calibrate` takes.
        labels: true classes, in step with ``masks``.
        qhat: a :class:`conformal_plugin.Calibration`, a number or one number per class. Unlike
            :func:`conformal_plugin.filter` this measures uninformative thresholds too;
            ``math.inf`` with ``rule="most-probable"`` is the raw annotator (argmax).
        rule, background: how a label is picked from a prediction set, see
            :func:`conformal_plugin.filter`.
        ignore_index: true label of pixels to leave out.

    Returns:
        The measurements.

    Raises:
        EmptyCalibrationError: no pixel is labelled.
        InputTypeError, ShapeError, DeviceMismatchError, ScoreError, LabelError, OptionError: bad
            input, see :mod:`conformal_plugin.errors`.

    Example:
        >>> import numpy as np
        >>> masks = np.array([[[0.6, 0.9, 0.2]], [[0.4, 0.1, 0.2]]])
        >>> result = evaluate(masks, np.array([[1, 1, 0]]), 0.65)
        >>> result.kept_pixels, result.precision
        (2, 0.5)
    """
    evaluator = Evaluator(qhat, rule=rule, background=background, ignore_index=ignore_index)
    evaluator.update(masks, labels)
    return evaluator.result()


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """What an annotator's maps are worth at a threshold, over all pixels that are not ignored.

    Attributes:
        confusion: int64 ``(K, K + 1)``: pixels by true class (row) and label (column); the last
            column counts dropped pixels.
        set_sizes: int64 ``(K + 1,)``: pixels by size of their prediction set, 0 to K.
        image_pixels: int64, each image's measured pixels; images are in ascending order of their
            coverage, so that the order in which they came does not matter.
        image_covered: int64, those whose true class is in the prediction set.
        image_kept: int64, those that got a label.
        image_wrong: int64, those that got a wrong one.
        rule: how labels were picked.
    """

    confusion: np.ndarray[Any, Any]
    set_sizes: np.ndarray[Any, Any]
    image_pixels: np.ndarray[Any, Any]
    image_covered: np.ndarray[Any, Any]
    image_kept: np.ndarray[Any, Any]
    image_wrong: np.ndarray[Any, Any]
    rule: str

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.confusion)

    @property
    def n_pixels(self) -> int:
        """Number of pixels measured."""
        return int(self.confusion.sum())

    @property
    def n_images(self) -> int:
        """Number of images with at least one measured pixel."""
        return len(self.image_pixels)

    @property
    def covered(self) -> int:
        """Number of pixels whose true class is in the prediction set."""
        return int(self.image_covered.sum())

    @property
    def image_coverage(self) -> np.ndarray[Any, Any]:
        """Each image's share of covered pixels, float64, ascending."""
        coverage: np.ndarray[Any, Any] = self.image_covered / self.image_pixels
        return coverage

    @property
    def coverage(self) -> float:
        """Share of pixels whose true class is in the prediction set."""
        return self.covered / self.n_pixels

    @property
    def set_size(self) -> float:
        """Mean number of classes in a prediction set."""
        return float(self.set_sizes @ np.arange(self.num_classes + 1)) / self.n_pixels

    @property
    def kept_pixels(self) -> int:
        """Number of pixels that got a label."""
        return int(self.confusion[:, :-1].sum())

    @property
    def kept(self) -> float:
        """Share of pixels that got a label."""
        return self.kept_pixels / self.n_pixels

    @property
    def kept_per_class(self) -> np.ndarray[Any, Any]:
        """Of the pixels of each true class, the share that got a label; NaN for absent classes."""
        return _ratio(self.confusion[:, :-1].sum(axis=1), self.confusion.sum(axis=1))

    @property
    def precision(self) -> float:
        """Share of the kept labels that are right; NaN when none is kept."""
        right = int(np.trace(self.confusion))
        return right / self.kept_pixels if self.kept_pixels else math.nan

    @property
    def precision_per_class(self) -> np.ndarray[Any, Any]:
        """Share of the kept labels of each class that are right; NaN where none is kept."""
        return _ratio(np.diagonal(self.confusion), self.confusion[:, :-1].sum(axis=0))

    def iou_per_class(self, *, dropped: str = "miss") -> np.ndarray[Any, Any]:
        """Intersection over union of each class, ``(K,)``; NaN where the union is empty.

        Args:
            dropped: ``"miss"`` counts a dropped pixel as a missed pixel of its true class,
                ``"ignore"`` looks at kept pixels alone.
        """
        if dropped not in ("miss", "ignore"):
            raise OptionError(f"dropped must be 'miss' or 'ignore', got {dropped!r}")
        kept = self.confusion[:, :-1]
        rows = self.confusion if dropped == "miss" else kept
        right = np.diagonal(kept)
        return _ratio(right, rows.sum(axis=1) + kept.sum(axis=0) - right)

    def miou(self, classes: Sequence[int] | None = None, *, dropped: str = "miss") -> float:
        """Mean intersection over union.

        Args:
            classes: classes to average over; None for all that occur among the true labels.
            dropped: see :meth:`iou_per_class`.
        """
        if classes is None:
            classes = np.flatnonzero(self.confusion.sum(axis=1)).tolist()
        wrong = [c for c in classes if not 0 <= c < self.num_classes]
        if wrong or not len(classes):
            raise OptionError(
                f"classes must be indices in 0 ... {self.num_classes - 1}, got {list(classes)}"
            )
        per_class = self.iou_per_class(dropped=dropped)[list(classes)]
        present = per_class[~np.isnan(per_class)]
        return float(present.mean()) if len(present) else math.nan

    def to_dict(self) -> dict[str, Any]:
        """All measurements as plain numbers and lists, ready for JSON except for NaN."""
        return {
            "n_pixels": self.n_pixels,
            "n_images": self.n_images,
            "rule": self.rule,
            "coverage": self.coverage,
            "image_coverage": self.image_coverage.tolist(),
            **{name: getattr(self, name).tolist() for name in PER_IMAGE},
            "set_size": self.set_size,
            "set_sizes": self.set_sizes.tolist(),
            "kept": self.kept,
            "kept_per_class": self.kept_per_class.tolist(),
            "precision": self.precision,
            "precision_per_class": self.precision_per_class.tolist(),
            "miou": self.miou(),
            "miou_kept": self.miou(dropped="ignore"),
            "confusion": self.confusion.tolist(),
        }

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Evaluation):
            return NotImplemented
        return (
            self.rule == other.rule
            and np.array_equal(self.confusion, other.confusion)
            and np.array_equal(self.set_sizes, other.set_sizes)
            and all(np.array_equal(getattr(self, name), getattr(other, name)) for name in PER_IMAGE)
        )

    __hash__ = None  # type: ignore[assignment]  # holds arrays

    def __repr__(self) -> str:
        return (
            f"Evaluation(coverage={self.coverage:.4f}, "
            f"image_coverage={self.image_coverage.mean():.4f} on average, "
            f"set_size={self.set_size:.3f}, kept={self.kept:.4f}, precision={self.precision:.4f}, "
            f"miou={self.miou():.4f}, miou_kept={self.miou(dropped='ignore'):.4f}, "
            f"rule={self.rule!r}, n_pixels={self.n_pixels}, n_images={self.n_images})"
        )


@dataclass
class _Tally:
    """Integer counts, so that adding them is exact in any order."""

    confusion: np.ndarray[Any, Any]
    set_sizes: np.ndarray[Any, Any]
    images: list[tuple[int, int, int, int]] = field(default_factory=list)
    """Per image its pixels: measured, covered, kept, wrong."""


class Evaluator:
    """Evaluates maps as they stream by; memory is constant but for four integers per image.

    Args:
        qhat, rule, background, ignore_index: as in :func:`evaluate`.

    Example:
        >>> import numpy as np
        >>> evaluator = Evaluator(0.65)
        >>> masks = np.array([[[0.6, 0.9, 0.2]], [[0.4, 0.1, 0.2]]])
        >>> for labels in ([[1, 1, 0]], [[1, 0, 0]]):
        ...     evaluator.update(masks, np.array(labels))
        >>> evaluator.result().n_images
        2
    """

    _total_of_ranks = False

    def __init__(
        self,
        qhat: Any,
        *,
        rule: str | None = None,
        background: int | None = None,
        ignore_index: int = 255,
    ) -> None:
        self.qhat = qhat
        self.rule, self.background = promised_rule(qhat, rule, background)
        self.ignore_index = ignore_index
        self._tally: _Tally | None = None

    def update(self, masks: Any, labels: Any) -> None:
        """Measure more images: any form of masks and labels that :func:`evaluate` takes.

        Nothing is counted when any part of the input is refused.

        Raises:
            InputTypeError, ShapeError, DeviceMismatchError, ScoreError, LabelError, OptionError:
                as :func:`evaluate`.
        """
        fresh = Evaluator(**self._settings())
        items = map(fresh._begun_with, labelled_images(masks, labels))
        for item, measured in in_parallel(fresh._measure, items):
            with item.named():
                confusion, set_sizes, images = measured()
            tally = fresh._begin(len(confusion))
            tally.confusion += confusion
            tally.set_sizes += set_sizes
            tally.images += images
        self.merge(fresh)

    def merge(self, other: Evaluator) -> Evaluator:
        """Add what ``other`` has measured; returns this evaluator.

        Raises:
            OptionError: the two were made with different settings.
            ShapeError: the two have seen different numbers of classes.
        """
        theirs = other._settings()
        different = [
            name
            for name, value in self._settings().items()
            if value is not theirs[name] and not np.array_equal(value, theirs[name])
        ]
        if different:
            raise OptionError(
                f"cannot merge evaluators that differ in {', '.join(different)}; construct both "
                f"with the same settings"
            )
        if other._tally is not None:
            tally = self._begin(len(other._tally.confusion))
            tally.confusion += other._tally.confusion
            tally.set_sizes += other._tally.set_sizes
            tally.images += other._tally.images
        return self

    def all_reduce(self, group: Any = None) -> Evaluator:
        """Add up what all ranks measured on each: :func:`conformal_plugin.ranks.all_reduce`."""
        return all_reduce(self, group)

    def result(self) -> Evaluation:
        """The measurements so far.

        Raises:
            EmptyCalibrationError: no pixel has been measured.
        """
        if self._tally is None or not self._tally.images:
            raise EmptyCalibrationError(
                f"nothing to evaluate: every label is {self.ignore_index} or nothing was passed; "
                f"check ignore_index and that the label files are not blank"
            )
        pixels, covered, kept, wrong = np.array(self._tally.images, dtype=np.int64).T
        order = np.lexsort((wrong, kept, pixels, covered / pixels))
        return Evaluation(
            confusion=self._tally.confusion.copy(),
            set_sizes=self._tally.set_sizes.copy(),
            image_pixels=pixels[order],
            image_covered=covered[order],
            image_kept=kept[order],
            image_wrong=wrong[order],
            rule=self.rule,
        )

    def _settings(self) -> dict[str, Any]:
        return {
            "qhat": self.qhat,
            "rule": self.rule,
            "background": self.background,
            "ignore_index": self.ignore_index,
        }

    def _begin(self, num_classes: int) -> _Tally:
        if self._tally is None:
            check_rule(self.rule, self.background, num_classes)
            check_ignore_index(self.ignore_index, num_classes)
            self._tally = _Tally(
                np.zeros((num_classes, num_classes + 1), dtype=np.int64),
                np.zeros(num_classes + 1, dtype=np.int64),
            )
        if len(self._tally.confusion) != num_classes:
            raise ShapeError(
                f"masks must all have the same number of classes: {len(self._tally.confusion)} "
                f"came first, now {num_classes}; check that all come from one annotator"
            )
        return self._tally

    def _begun_with(self, item: LabelledScores) -> LabelledScores:
        with item.named():
            self._begin(item.scores.shape[0])
        return item

    def _measure(
        self, item: LabelledScores
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], list[Any]]:
        """What an image adds to a tally; touches nothing here, so that threads can share it."""
        num_classes = item.scores.shape[0]
        grid = grid_of(item.scores, "masks")
        thresholds = class_thresholds(self.qhat, num_classes)
        # Points have one spatial axis; give them a height, as images have.
        scores = item.scores if item.scores.ndim == 3 else item.scores.unsqueeze(1)
        labels, sizes = (values.flatten() for values in self._label(scores, thresholds, grid))
        true = read_true_scores(item, self.ignore_index, grid)
        # A score has to be above this to be in the set; that of an ignored pixel never is.
        bounds = [grid.top if b is None else b - 1 for b in least_patterns(thresholds, grid)]
        below = torch.tensor([*bounds, grid.beyond], device=labels.device)
        confusion, by_size, covered = _counted(item, true, below, labels, sizes)
        if item.points:
            return confusion, by_size, _each_point(true, below, labels)
        total, kept = int(confusion.sum()), int(confusion[:, :-1].sum())
        image = (total, covered, kept, kept - int(np.trace(confusion)))
        return confusion, by_size, [image] if total else []

    def _label(
        self, scores: Tensor, thresholds: list[float], grid: ScoreGrid
    ) -> tuple[Tensor, Tensor]:
        """Labels, K where dropped, and sizes of the prediction sets, ``(H, W)`` each."""
        num_classes = len(thresholds)
        # A label number of its own for dropped pixels, whatever the caller's ignore index.
        options: dict[str, Any] = {
            "rule": self.rule,
            "background": self.background,
            "ignore_index": num_classes,
        }
        dtype = label_dtype(num_classes + 1, num_classes)
        if scores.device.type != "cpu":
            least = [grid.least(threshold) for threshold in thresholds]
            check_range(extremes(scores), scores, grid)
            members = torch.stack([in_set(channel, b) for channel, b in zip(scores, least)])
            return label_maps(scores[None], least, **options)[0], members.sum(dim=0)
        bounds = least_patterns(thresholds, grid)
        labels = torch.empty(scores.shape[1:], dtype=dtype)
        sizes = torch.empty_like(labels)

        def work(part: Patterns, label: np.ndarray[Any, Any], size: np.ndarray[Any, Any]) -> int:
            return label_part(part, bounds, label, size, **options)

        maps = (labels[None].numpy(), sizes[None].numpy())
        if max(map_parts(work, patterns_of(scores[None]), *maps), default=0) > grid.top:
            check_range(extremes(scores), scores, grid)
            return self._label(scores + 0.0, thresholds, grid)  # -0.0 has such a pattern too
        return labels, sizes


def _counted(
    item: LabelledScores, true: TrueScores, below: Tensor, labels: Tensor, sizes: Tensor
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]:
    """Pixels by true class and label, by size of their set, and those that are covered."""
    cpu = labels.device.type == "cpu"
    loops = loops_for("reading", item.scores.numel()) if cpu else None
    if loops is not None:
        values = (true.classes, true.patterns, below, labels, sizes)
        counts: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]
        counts = loops.tally(*(np.asarray(value) for value in values))
        return counts
    columns = len(below)
    classes = as_tensor(true.classes)
    rows = classes.int() * columns
    # Ignored pixels have a last row, cut off again.
    confusion, by_size = (
        torch.bincount(rows + values, minlength=columns * columns)
        .reshape(columns, columns)[:-1]
        .cpu()
        .numpy()
        for values in (labels, sizes)
    )
    covered = as_tensor(true.patterns) > below[classes.long()]
    return confusion, by_size.sum(axis=0), int(covered.count_nonzero())


def _each_point(true: TrueScores, below: Tensor, labels: Tensor) -> list[Any]:
    """Of each point that is not ignored: 1, and whether it is covered, kept and wrong."""
    classes = as_tensor(true.classes)
    used = classes < len(below) - 1
    covered = as_tensor(true.patterns) > below[classes.long()]
    kept = labels < len(below) - 1
    flags = torch.stack([used, covered, kept, kept & (labels != classes)])
    return [tuple(point) for point in flags[:, used].T.int().tolist()]


def _ratio(part: np.ndarray[Any, Any], whole: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """``part / whole``, NaN where ``whole`` is 0."""
    ratio = np.full(len(whole), np.nan)
    np.divide(part, whole, out=ratio, where=whole > 0)
    return ratio
