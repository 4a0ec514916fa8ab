"""What a report is about, gathered in one reading of the maps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.calibration import Calibration
from conformal_plugin.errors import EmptyCalibrationError
from conformal_plugin.evaluation import Evaluation, Evaluator
from conformal_plugin.labelling import (
    Least,
    cap_of,
    class_thresholds,
    image_labels,
    in_set,
    least_scores,
)
from conformal_plugin.processes import beside_others, in_parallel
from conformal_plugin.reporting._halves import Halves
from conformal_plugin.scores import (
    LabelledParts,
    LabelledScores,
    TrueScores,
    class_indices,
    elsewhere,
    grid_of,
    labelled_images,
    true_scores,
)

__all__ = ["Evidence", "gather"]

_OfImage = tuple[np.ndarray[Any, Any], int, int]
"""Lost pixels by true class and label, K where dropped; labelled pixels, and right ones."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Measurements at the calibration's threshold, and coverage by halves.

    Attributes:
        evaluation: all images at the calibration's threshold.
        halves: one half of the images at thresholds from the other.
        lost: int64 ``(K, K + 1)``, pixels whose true class (row) is not in their prediction set,
            by the label that they got (column; the last: none).
        right: float64, each image's share of labelled pixels whose kept label is right; NaN for
            images without a labelled pixel; in the order of reading.
    """

    evaluation: Evaluation
    halves: Halves
    lost: np.ndarray[Any, Any]
    right: np.ndarray[Any, Any]

    def ranked(self) -> list[int]:
        """Numbers of the images with a labelled pixel, those with most right labels first."""
        order = np.argsort(-self.right, kind="stable")
        return [int(i) for i in order if not np.isnan(self.right[i])]


def gather(
    scores: Iterable[Any], labels: Iterable[Any], calibration: Calibration, *, rule: str
) -> Evidence:
    """Read all images once.

    Args:
        scores: class scores ``(K, H, W)``, an iterable of one array per image.
        labels: true classes in step.
        calibration: what to measure.
        rule: how labels are picked, see :func:`conformal_plugin.filter`.

    Raises:
        EmptyCalibrationError: no image has a labelled pixel.
        ShapeError, InputTypeError, ScoreError, LabelError, OptionError: bad input.
    """
    ignore_index = calibration.ignore_index
    options: dict[str, Any] = {"rule": rule, "ignore_index": ignore_index}
    evaluator = Evaluator(calibration, **options)
    halves = Halves(ignore_index=ignore_index)
    lost: Any = 0
    right = []

    def measured(item: LabelledScores) -> tuple[Evaluator, TrueScores, _OfImage]:
        alone = Evaluator(calibration, **options)
        alone.update(*item.arrays)  # which refuses bad input
        return alone, halves.read(item), _counts(item, calibration, alone)

    images = labelled_images(scores, labels)
    for item, result in in_parallel(measured, images, here=elsewhere):
        with item.named(), beside_others():
            alone, true, (joint, pixels, correct) = result()
            evaluator.merge(alone)
            halves.add(item, true)
        lost = lost + joint
        right.append(correct / pixels if pixels else np.nan)
    if not right:
        raise EmptyCalibrationError("there is no image to report on; check --ids and the folders")
    return Evidence(evaluator.result(), halves, lost, np.array(right))


def _counts(item: LabelledScores, calibration: Calibration, evaluator: Evaluator) -> _OfImage:
    """The counts of an image, part by part."""
    joint, pixels, correct = np.zeros((), np.int64), 0, 0
    for part in _as_much_as_needed(item, calibration):
        of_part = _labels(part, calibration, evaluator)
        joint, pixels, correct = joint + of_part[0], pixels + of_part[1], correct + of_part[2]
    return joint, pixels, correct


def _as_much_as_needed(item: LabelledScores, calibration: Calibration) -> Iterable[LabelledScores]:
    """The parts of an image; all of it where which pixels keep a label depends on all others."""
    if isinstance(item, LabelledParts) and cap_of(calibration) is not None:
        return [item.whole()]
    return item.parts()


def _labels(item: LabelledScores, calibration: Calibration, evaluator: Evaluator) -> _OfImage:
    num_classes = item.scores.shape[0]
    truth = class_indices(item, calibration.ignore_index)
    grid = grid_of(item.scores)
    options: dict[str, Any] = {
        "rule": evaluator.rule,
        "background": evaluator.background,
        "ignore_index": num_classes,
    }
    thresholds = class_thresholds(calibration, num_classes)
    kept, cap = image_labels(item.scores, thresholds, grid, **options), cap_of(calibration)
    if cap is not None:
        kept = cap.applied(kept[None], item.scores[None], **options)[0]
    kept = kept.long()
    least = least_scores(calibration, grid, num_classes)
    used = truth < num_classes
    size = num_classes + 1
    places = (truth * size + kept)[_missed(true_scores(item, truth), truth, least) & used]
    joint = torch.bincount(places.flatten(), minlength=size * size).reshape(size, size)
    right = (kept == truth) & used
    return joint[:-1].cpu().numpy(), int(used.count_nonzero()), int(right.count_nonzero())


def _missed(true: Tensor, truth: Tensor, least: Least) -> Tensor:
    """Whether a pixel's set lacks its true class."""
    if len(set(least)) == 1:
        return ~in_set(true, least[0])
    missed = torch.zeros_like(truth, dtype=torch.bool)
    for c, bound in enumerate(least):
        missed |= (truth == c) & ~in_set(true, bound)
    return missed
