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
    class_indices,
    grid_of,
    labelled_images,
    require_whole,
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
        with item.named():
            require_whole(item, "a report")
            evaluator.update(*item.arrays)
            halves.add(item)
            kept, missed = _labels(item, calibration, evaluator)
        used = missed[0] < item.scores.shape[0]
        right.append(float((kept == missed[0])[used].double().mean()) if used.any() else np.nan)
        size = item.scores.shape[0] + 1
        places = (missed[0] * size + kept)[missed[1] & used]
        joint = torch.bincount(places.flatten(), minlength=size * size).reshape(size, size)
        lost = lost + joint[:-1].cpu().numpy()
    if not right:
        raise EmptyCalibrationError("there is no image to report on; check --ids and the folders")
    return Evidence(evaluator.result(), halves, lost, np.array(right))


def _labels(item: Any, calibration: Calibration, evaluator: Evaluator) -> tuple[Any, Any]:
    """Kept labels, K where dropped; true classes, and whether the set misses them."""
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
    return kept, (truth, missed)
