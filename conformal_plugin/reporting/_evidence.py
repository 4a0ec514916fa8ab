"""What a report is about, gathered in one reading of the maps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from conformal_plugin.calibration import Calibration
from conformal_plugin.errors import EmptyCalibrationError
from conformal_plugin.evaluation import Evaluation, Evaluator
from conformal_plugin.labelling import cap_of, in_set, label_maps, least_scores
from conformal_plugin.reporting._halves import Halves
from conformal_plugin.scores import (
    LabelledParts,
    LabelledScores,
    class_indices,
    grid_of,
    labelled_images,
    true_scores,
)

__all__ = ["Evidence", "gather"]


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
    evaluator = Evaluator(calibration, rule=rule, ignore_index=ignore_index)
    halves = Halves(ignore_index=ignore_index)
    lost: Any = 0
    right = []
    for item in labelled_images(scores, labels):
        of_image = [0, 0]
        with item.named():
            evaluator.update(*item.arrays)
            halves.add(item)
            for part in _as_much_as_needed(item, calibration):
                joint, *counts = _labels(part, calibration, evaluator)
                lost = lost + joint
                of_image = [total + more for total, more in zip(of_image, counts)]
        pixels, correct = of_image
        right.append(correct / pixels if pixels else np.nan)
    if not right:
        raise EmptyCalibrationError("there is no image to report on; check --ids and the folders")
    return Evidence(evaluator.result(), halves, lost, np.array(right))


def _as_much_as_needed(item: LabelledScores, calibration: Calibration) -> Iterable[LabelledScores]:
    """The parts of an image; all of it where which pixels keep a label depends on all others."""
    if isinstance(item, LabelledParts) and cap_of(calibration) is not None:
        return [item.whole()]
    return item.parts()


def _labels(
    item: LabelledScores, calibration: Calibration, evaluator: Evaluator
) -> tuple[np.ndarray[Any, Any], int, int]:
    """Lost pixels by true class and label, K where dropped; labelled pixels, and right ones."""
    num_classes = item.scores.shape[0]
    truth = class_indices(item, calibration.ignore_index)
    least = least_scores(calibration, grid_of(item.scores), num_classes)
    kept = label_maps(
        item.scores.unsqueeze(0),
        least,
        rule=evaluator.rule,
        background=evaluator.background,
        ignore_index=num_classes,
        cap=cap_of(calibration),
    )[0].long()
    true = true_scores(item, truth)
    missed = torch.zeros_like(truth, dtype=torch.bool)
    for c in range(num_classes):
        missed |= (truth == c) & ~in_set(true, least[c])
    used = truth < num_classes
    size = num_classes + 1
    places = (truth * size + kept)[missed & used]
    joint = torch.bincount(places.flatten(), minlength=size * size).reshape(size, size)
    right = (kept == truth) & used
    return joint[:-1].cpu().numpy(), int(used.count_nonzero()), int(right.count_nonzero())
