"""Candidates for a recipe that is better than a choice of labels, each a way to train a student.

Those that lost are in the history of this file; what they were and by how much: docs/beds.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from known import Known
from material import IGNORE
from torch import Tensor, nn

from conformal_plugin.choosing import MIN_IMAGES
from conformal_plugin.labelling import label_weights, thin
from conformal_plugin.rehearsing import Loss

__all__ = ["CANDIDATES"]

Bytes = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.floating]


Candidate = Callable[[Known, int], nn.Module]


@lru_cache(maxsize=1)
def _p_values(known: Known) -> Tensor:
    """Of every class at every unlabelled point, ``(points, K)``: the rank within the class."""
    scores, truth = _flat(known.scores), _flat_maps(known.labelled.truth)
    photos = torch.cat([torch.full((one.size,), i) for i, one in enumerate(known.labelled.truth)])
    kept = truth != IGNORE
    scores, truth, photos = scores[kept], truth[kept], photos[kept]
    right = scores.gather(1, truth[:, None])[:, 0]
    others = _flat(known.others)
    found = torch.empty_like(others)
    for c in range(known.classes):
        held = len(photos[truth == c].unique()) >= MIN_IMAGES
        ordered = (right[truth == c] if held else right).sort().values
        below = torch.searchsorted(ordered, others[:, c].contiguous(), right=True)
        found[:, c] = (below + 1) / (len(ordered) + 1)
    return found


def _weighted(given: Tensor, weights: Tensor) -> Loss:
    def teacher(student: nn.Module, logits: Tensor, which: Tensor, progress: float) -> Tensor:
        each = F.cross_entropy(logits, given[which], ignore_index=IGNORE, reduction="none")
        weight = weights[which] * (given[which] != IGNORE)
        return (weight * each).sum() / weight.sum().clamp_min(1e-6)

    return teacher


def _weighted_default(known: Known, seed: int) -> nn.Module:
    """The default's labels, weighted by their p-values."""
    if known.default is None:
        return known.train(None, seed)
    given = _flat_maps(known.default)
    label = torch.where(given == IGNORE, 0, given)
    values = _p_values(known).gather(1, label[:, None])[:, 0]
    return known.train(_weighted(given, values), seed)


def _label_weights(known: Known, seed: int) -> nn.Module:
    """The same, even over classes, as the package makes weights."""
    calibration = known.choice.calibration
    if known.default is None or calibration is None:
        return known.train_labels(known.default, seed)
    weights = [label_weights(*pair, calibration) for pair in zip(known.others, known.default)]
    flat = torch.from_numpy(np.concatenate([one.ravel() for one in weights]))
    return known.train(_weighted(_flat_maps(known.default), flat), seed)


def _thinned(known: Known, seed: int) -> nn.Module:
    """These weights as plain labels, one draw for each student."""
    calibration = known.choice.calibration
    if known.default is None or calibration is None:
        return known.train_labels(known.default, seed)
    maps = [
        thin(labels, scores, calibration, seed=1000 * seed + number)
        for number, (scores, labels) in enumerate(zip(known.others, known.default))
    ]
    return known.train_labels(maps, seed)


def _flat(maps: Sequence[Scores]) -> Tensor:
    """Scores of all points, ``(points, K)``."""
    return torch.cat([torch.from_numpy(np.asarray(one, np.float32)).flatten(1).T for one in maps])


def _flat_maps(maps: Sequence[Bytes]) -> Tensor:
    return torch.from_numpy(np.concatenate([one.ravel() for one in maps])).long()


CANDIDATES: dict[str, Candidate] = {
    "weighted default": _weighted_default,
    "label weights": _label_weights,
    "thinned": _thinned,
}
