"""What one photo's map and labels look like, in a few numbers that need no truth."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.calibration import Calibration
from conformal_plugin.errors import UninformativeThresholdError
from conformal_plugin.labelling import filter as labels_of, in_set, least_scores
from conformal_plugin.scores import ScoreParts, grid_of, read_scores

__all__ = ["PhotoFigures", "photo_figures"]


@dataclass(frozen=True)
class PhotoFigures:
    """The figures of one photo. None of them knows the truth.

    Attributes:
        pixels: of the photo.
        set_size: classes in a pixel's prediction set, on average.
        unsure: one minus the highest score of a pixel, on average.
        lost: share of the pixels that get no label.
        labels: pixels of each class that is a label somewhere.
    """

    pixels: int
    set_size: float
    unsure: float
    lost: float
    labels: Mapping[int, int]


def photo_figures(
    scores: Any, calibration: Calibration, *, rule: str | None = None, background: int | None = None
) -> PhotoFigures:
    """The figures of a photo's map, read once.

    Args:
        scores: class scores ``(K, H, W)``, one volume ``(1, K, D, H, W)``, or what reads one part
            by part.
        calibration: whose sets and labels are looked at.
        rule: as for :func:`conformal_plugin.filter`, and so is ``background``.
        background: the background class.

    Raises:
        InputTypeError, ShapeError, ScoreError, OptionError: bad scores or options.
        UninformativeThresholdError: a threshold of 1 or more.
    """
    pixels, members, unsure = 0, 0, 0.0
    for part in _parts(scores):
        num_classes = part.shape[1]
        grid = grid_of(part, "maps")
        least = least_scores(calibration, grid, num_classes)
        members += sum(int(in_set(part[:, c], least[c]).sum()) for c in range(num_classes))
        best = part.amax(dim=1).double()
        unsure += float((1 - best / grid.top if grid.is_integer else 1 - best).sum())
        pixels += best.numel()
    counts = _label_counts(scores, calibration, rule=rule, background=background)
    return PhotoFigures(
        pixels=pixels,
        set_size=members / pixels,
        unsure=unsure / pixels,
        lost=1 - sum(counts.values()) / pixels,
        labels=counts,
    )


def _parts(scores: Any) -> Iterator[Tensor]:
    """Batches ``(N, K, ...)`` that together are the photo."""
    if isinstance(scores, ScoreParts):
        for _, part in scores.placed():
            yield from _parts(part)
        return
    tensor = read_scores(scores, "maps", points=False)
    yield tensor.unsqueeze(0) if tensor.ndim == 3 else tensor


def _label_counts(scores: Any, calibration: Calibration, **options: Any) -> dict[int, int]:
    dropped = calibration.ignore_index
    try:
        labels = labels_of(scores, calibration, ignore_index=dropped, **options)
    except UninformativeThresholdError:
        if not calibration.informative:
            raise
        return {}  # every class is in every set of this one photo
    values, counts = np.unique(np.asarray(torch.as_tensor(labels).cpu()), return_counts=True)
    return {
        value: count for value, count in zip(values.tolist(), counts.tolist()) if value != dropped
    }
