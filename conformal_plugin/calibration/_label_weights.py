"""What the weights of pseudo-labels are made of: thresholds of all levels, and a mean per class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["LabelWeights"]


@dataclass(frozen=True, eq=False)
class LabelWeights:
    """What :func:`conformal_plugin.labelling.label_weights` makes a label's weight of.

    Attributes:
        ladder: float64 ``(15, K)``, q-hat of every class at alpha 1/16, 2/16 ... 15/16. The class
            is in a pixel's prediction set at alpha where its p-value exceeds alpha.
        means: float64 ``(K,)``, the mean p-value of the labels of each class on labelled images;
            one half where there is no such label.
    """

    ladder: np.ndarray[Any, Any]
    means: np.ndarray[Any, Any]

    def __post_init__(self) -> None:
        for name in ("ladder", "means"):
            array = np.array(getattr(self, name), dtype=np.float64)
            array.flags.writeable = False
            object.__setattr__(self, name, array)
