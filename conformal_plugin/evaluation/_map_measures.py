"""What can be said of an annotator's map without its label: a few numbers per image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.scores import (
    ScoreParts,
    as_image,
    check_range,
    extremes,
    grid_of,
    read_scores,
)

__all__ = ["MapMeasures", "measure_map"]

_LOW = 0.1
_SEEN = 0.01
_NAMES = (
    "mean score of the most probable class",
    f"score that {100 * (1 - _LOW):g} % of the pixels' most probable classes exceed",
    "mean lead over the second most probable class",
    "mean sum of a pixel's scores",
    "number of classes that are most probable somewhere",
    "pixels of the image",
    "height over width",
)


@dataclass(frozen=True)
class MapMeasures:
    """The measures of one map.

    Attributes:
        general: float64, one for each of ``names(0)``.
        shares: float64 ``(K,)``, the share of pixels where each class is the most probable.
    """

    general: np.ndarray[Any, Any]
    shares: np.ndarray[Any, Any]

    @staticmethod
    def names(num_classes: int) -> tuple[str, ...]:
        """What the measures are called: the general ones, then each class's share."""
        classes = (f"share where class {c} is most probable" for c in range(num_classes))
        return (*_NAMES, *classes)


def measure_map(scores: Any) -> MapMeasures:
    """Measure one map ``(K, H, W)``, or one volume ``(1, K, D, H, W)``, as ``calibrate`` takes it.

    Of a map that is read part by part, twelve bytes of each pixel are held.

    Raises:
        InputTypeError, ShapeError, ScoreError: bad input.
    """
    if isinstance(scores, ScoreParts):
        parts = [_measured(part) for _, part in scores.placed()]
    else:
        parts = [_measured(scores)]
    best, second, sums = (torch.cat(columns) for columns in list(zip(*parts))[:3])
    width = scores.shape[-1]
    shares = np.sum([part.most_probable for part in parts], axis=0) / best.numel()
    low = best.cpu().kthvalue(max(1, round(_LOW * best.numel()))).values
    general = [
        float(best.double().mean()),
        float(low),
        float((best - second).double().mean()),
        # Two digits: rounding on the way to the disk is no property of an image.
        round(float(sums.double().mean()), 2),
        float((shares >= _SEEN).sum()),
        float(best.numel()),
        (best.numel() // width) / width,
    ]
    return MapMeasures(np.array(general), shares)


class _Measured(NamedTuple):
    """Of each pixel its two highest scores and the sum of all; pixels by most probable class."""

    best: Tensor
    second: Tensor
    sums: Tensor
    most_probable: np.ndarray[Any, Any]


def _measured(scores: Any) -> _Measured:
    maps = read_scores(scores, "maps", points=False)
    maps = as_image(maps[0]) if maps.ndim == 5 else maps
    grid = grid_of(maps, "maps")
    check_range(extremes(maps), maps, grid)
    classes = maps.shape[-3]
    values = maps.reshape(classes, -1).to(torch.float32)
    if grid.is_integer:
        values = values / grid.top
    best, second = values.topk(2, dim=0).values
    counts = torch.bincount(values.argmax(dim=0), minlength=classes).cpu().numpy()
    return _Measured(best, second, values.sum(dim=0), counts)
