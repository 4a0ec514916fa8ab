"""Labels that stay at random, by their weight: weights of the loss as plain labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from conformal_plugin.calibration import Calibration
from conformal_plugin.labelling._p_values import label_weights
from conformal_plugin.scores import back_to_kind, to_tensor

__all__ = ["thin"]


def thin(
    labels: Any, masks: Any, calibration: Calibration, *, seed: int = 0, ignore_index: int = 255
) -> Any:
    """Drop labels at random, each staying with half of its weight as the probability. Heuristic.

    In the mean that is the loss in which every label counts by its :func:`label_weights`, the few
    above 2 by 2, and what comes out is a label map like any other: crops, CutMix, mixed precision,
    compiled models, ranks and losses of any kind see nothing of it. About half of the labels of
    every class go, mostly those that are least typical of it. Students of it: docs/beds.md.

    Args:
        labels: what :func:`conformal_plugin.filter` has made of the masks.
        masks, calibration: as for :func:`conformal_plugin.labelling.p_values`.
        seed: of the draw; another for every image, or all lose the same pixels.
        ignore_index: the label of dropped pixels.

    Returns:
        New labels, of the kind, dtype and device of those given.

    Raises:
        OptionError, ShapeError, InputTypeError, ScoreError: as
            :func:`conformal_plugin.labelling.p_values`.
    """
    chance = to_tensor(label_weights(masks, labels, calibration), "weights") / 2
    given = to_tensor(labels, "labels")
    drawn = np.random.default_rng(seed).random(tuple(given.shape), dtype=np.float32)
    stays = torch.from_numpy(drawn).to(chance.device) < chance
    return back_to_kind(labels)(given.masked_fill(~stays.to(given.device), ignore_index))
