"""The raw annotator's labels: each pixel's most probable class, with nothing dropped."""

from __future__ import annotations

from typing import Any

import torch

from conformal_plugin.labelling._rules import label_dtype, unfiltered_labels
from conformal_plugin.scores import (
    back_to_kind,
    check_ignore_index,
    check_range,
    extremes,
    grid_of,
    read_scores,
)

__all__ = ["raw_labels"]


def raw_labels(masks: Any, *, ignore_index: int = 255) -> Any:
    """The most probable class of every pixel (argmax); ties go to the lowest class index.

    Args:
        masks: class scores in [0, 1], ``(K, H, W)``.
        ignore_index: a label that is no class, for labels of the dtype of
            :func:`conformal_plugin.filter`; no pixel has it.

    Raises:
        InputTypeError, ShapeError, ScoreError, LabelError: bad masks or options.
    """
    scores = read_scores(masks, "masks", points=False)
    num_classes = scores.shape[0]
    grid = grid_of(scores, "masks")
    check_ignore_index(ignore_index, num_classes)
    check_range(extremes(scores), scores, grid)
    labels = unfiltered_labels(scores, "most-probable", 0)
    dtype: torch.dtype = label_dtype(num_classes, ignore_index)
    return back_to_kind(masks)(labels.to(dtype))
