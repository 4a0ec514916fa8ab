"""Measure on labelled images as they stream by, in constant memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.errors import EmptyCalibrationError, OptionError, ShapeError
from conformal_plugin.evaluation._result import PER_IMAGE, Evaluation
from conformal_plugin.labelling import (
    cap_of,
    check_rule,
    class_thresholds,
    fill_maps,
    label_dtype,
    label_maps,
    label_part,
    least_patterns,
    least_scores,
    members,
    promised_rule,
)
from conformal_plugin.processes import all_reduce, in_parallel
from conformal_plugin.scores import (
    LabelledParts,
    LabelledScores,
    Patterns,
    ScoreGrid,
    TrueScores,
    as_tensor,
    check_ignore_index,
    check_range,
    elsewhere,
    extremes,
    grid_of,
    in_cpu_memory,
    label_fingerprint,
    labelled_images,
    read_true_scores,
)
from conformal_plugin.scores.compiled import loops_for

__all__ = ["Evaluator", "evaluate"]


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


@dataclass
class _Tally:
    """Integer counts, so that adding them is exact in any order."""

    confusion: np.ndarray[Any, Any]
    set_sizes: np.ndarray[Any, Any]
    images: list[tuple[int, ...]] = field(default_factory=list)
    """Per image its pixels: measured, covered, kept, wrong, both of the foreground, and all."""
    fingerprints: list[int] = field(default_factory=list)
    """Per image that of its pixels by true class; none of separate points."""

    def __setstate__(self, pickled: dict[str, Any]) -> None:
        # What release 0.1.0 pickled has none.
        vars(self).update({"fingerprints": [], **pickled})

    def add(self, other: _Tally) -> None:
        """The images of ``other``, after these."""
        self.confusion += other.confusion
        self.set_sizes += other.set_sizes
        self.images += other.images
        self.fingerprints += other.fingerprints


class Evaluator:
    """Evaluates maps as they stream by; memory is constant but for eight integers per image.

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
        for item, measured in in_parallel(fresh._measure, items, here=elsewhere):
            with item.named():
                confusion, set_sizes, images = measured()
            own = images and not item.points
            prints = [label_fingerprint(confusion.sum(axis=1))] if own else []
            fresh._begin(len(confusion)).add(_Tally(confusion, set_sizes, images, prints))
        self.merge(fresh)

    def merge(self, other: Evaluator) -> Evaluator:
        """Add what ``other`` has measured, its images after these; returns this evaluator.

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
            self._begin(len(other._tally.confusion)).add(other._tally)
        return self

    def all_reduce(self, group: Any = None) -> Evaluator:
        """Add up what all ranks measured on each: :func:`conformal_plugin.processes.all_reduce`.

        The images of rank 0 come first, then those of rank 1, and so on.
        """
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
        columns = np.array(self._tally.images, dtype=np.int64).T
        prints = self._tally.fingerprints
        known = len(prints) == len(self._tally.images)
        return Evaluation(
            confusion=self._tally.confusion.copy(),
            set_sizes=self._tally.set_sizes.copy(),
            **dict(zip(PER_IMAGE, columns)),
            rule=self.rule,
            background=self.background,
            image_fingerprints=np.array(prints, dtype=np.int64) if known else None,
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
        if not isinstance(item, LabelledParts):
            return self._measure_part(item)
        if cap_of(self.qhat) is not None:  # which pixels keep their label depends on all others
            return self._measure_part(item.whole())
        confusions, by_size, counts = zip(*map(self._measure_part, item.parts()))
        images = [image for part in counts for image in part]
        of_all = [tuple(map(sum, zip(*images)))] if images else []
        return np.sum(confusions, axis=0), np.sum(by_size, axis=0), of_all

    def _measure_part(
        self, item: LabelledScores
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], list[Any]]:
        num_classes = item.scores.shape[0]
        grid = grid_of(item.scores, "masks")
        thresholds = class_thresholds(self.qhat, num_classes)
        if item.points and cap_of(self.qhat) is not None:
            raise ShapeError(
                "the calibration keeps at most a share of each image, and separate points (N, K) "
                "are of none; pass whole images (K, H, W)"
            )
        # Points have one spatial axis; give them a height, as images have.
        scores = item.scores if item.scores.ndim == 3 else item.scores.unsqueeze(1)
        labels, sizes = (values.flatten() for values in self._label(scores, thresholds, grid))
        true = read_true_scores(item, self.ignore_index, grid)
        # A score has to be above this to be in the set; that of an ignored pixel never is.
        bounds = [grid.top if b is None else b - 1 for b in least_patterns(thresholds, grid)]
        below = torch.tensor([*bounds, grid.beyond], device=labels.device)
        confusion, by_size, covered = _counted(item, true, below, labels, sizes)
        if item.points:
            return confusion, by_size, _each_point(true, below, labels, self.background)
        total, kept = int(confusion.sum()), confusion[:, :-1].sum(axis=0)
        wrong = kept - np.diagonal(confusion)
        image = [total, covered, kept.sum(), wrong.sum()]
        image += [values.sum() - values[self.background] for values in (kept, wrong)]
        area = int(np.prod(scores.shape[1:]))
        return confusion, by_size, [(*map(int, image), area)] if total else []

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
        cap = cap_of(self.qhat)
        if not in_cpu_memory(scores):
            least = least_scores(self.qhat, grid, num_classes)
            sizes = members(scores[None], least)[0].sum(dim=0, dtype=torch.int32)
            labels = label_maps(scores[None], least, **options, cap=cap)[0]
            check_range(extremes(scores), scores, grid)
            return labels, sizes
        bounds = least_patterns(thresholds, grid)
        labels = torch.empty(scores.shape[1:], dtype=dtype)
        sizes = torch.empty_like(labels)

        def work(part: Patterns, label: np.ndarray[Any, Any], size: np.ndarray[Any, Any]) -> int:
            return label_part(part, bounds, label, size, **options)

        fill_maps(work, scores[None], grid, labels[None], sizes[None])
        if cap is not None:
            labels = cap.applied(labels[None], scores[None], **options)[0]
        return labels, sizes


def _counted(
    item: LabelledScores, true: TrueScores, below: Tensor, labels: Tensor, sizes: Tensor
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]:
    """Pixels by true class and label, by size of their set, and those that are covered."""
    loops = loops_for("reading", item.scores.numel()) if in_cpu_memory(labels) else None
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


def _each_point(true: TrueScores, below: Tensor, labels: Tensor, background: int) -> list[Any]:
    """Of each point that is not ignored, what is counted of an image of that one pixel."""
    classes = as_tensor(true.classes)
    used = classes < len(below) - 1
    covered = as_tensor(true.patterns) > below[classes.long()]
    kept = labels < len(below) - 1
    wrong, foreground = kept & (labels != classes), labels != background
    flags = torch.stack(
        [used, covered, kept, wrong, kept & foreground, wrong & foreground, torch.ones_like(used)]
    )
    return [tuple(point) for point in flags[:, used].T.int().tolist()]
