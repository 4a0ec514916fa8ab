"""The labels of one image for those who count them: the quickest way there is, unchecked rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.labelling._cpu_labels import fill_maps, label_part
from conformal_plugin.labelling._rules import label_dtype, label_maps
from conformal_plugin.labelling._thresholds import least_patterns, least_scores
from conformal_plugin.scores import Patterns, ScoreGrid, in_cpu_memory

__all__ = ["image_labels"]


def image_labels(
    scores: Tensor,
    thresholds: Sequence[float],
    grid: ScoreGrid,
    *,
    rule: str,
    background: int,
    ignore_index: int,
) -> Tensor:
    """Labels ``(H, W)`` of scores ``(K, H, W)``, as :func:`conformal_plugin.filter` has them.

    Args:
        scores: on any device.
        thresholds: one per class; infinite ones put their class into every set.
        grid: of the scores.
        rule, background, ignore_index: as in :func:`conformal_plugin.filter`.

    Raises:
        ScoreError: scores in CPU memory that are none; on other devices nothing is looked at.
    """
    options: dict[str, Any] = {
        "rule": rule,
        "background": background,
        "ignore_index": ignore_index,
    }
    if not in_cpu_memory(scores):
        least = least_scores(thresholds, grid, len(thresholds))
        return label_maps(scores[None], least, **options)[0]
    bounds = least_patterns(thresholds, grid)
    labels = torch.empty(scores.shape[1:], dtype=label_dtype(len(thresholds), ignore_index))

    def work(part: Patterns, out: np.ndarray[Any, Any]) -> int:
        return label_part(part, bounds, out, **options)

    fill_maps(work, scores[None], grid, labels[None])
    return labels
