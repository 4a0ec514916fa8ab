"""A student that trains in seconds: a small network on the frozen features of an ImageNet encoder.

Every eighth pixel of a photo is a point with 160 numbers; a step sees 512 labelled points and as
many others. It is for studies with hundreds of students: what it says of labels is to be confirmed
with students that are trained whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from material import IGNORE
from torch import Tensor, nn
from tqdm import tqdm

from conformal_plugin._atomic import atomic_open
from conformal_plugin.rehearsing import (
    Directions,
    LiteEncoder,
    Loss,
    Unlabelled,
    at_points,
    confusion,
    loss_of_labels,
    new_probe,
    train_probe,
)

__all__ = [
    "Points",
    "confusion_of",
    "read_points",
    "taught",
    "thinned",
    "train_quick",
]

STEP, HALVED = 8, 32  # pixels between points; sides are brought to multiples of the other

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Points:
    """Features of the points of photos, a tensor ``(points, 160)`` each, and their true classes."""

    features: Sequence[Tensor]
    truth: Sequence[Bytes]


def thinned(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The points of an array ``(..., H, W)``: the centres of 8 x 8 cells of the padded photo."""
    height, width = (-(-side // HALVED) * HALVED // STEP for side in array.shape[-2:])
    return at_points(array, (height, width))


def read_points(
    photos: Mapping[str, Sequence[Bytes]],
    truth: Mapping[str, Sequence[Bytes]],
    cache: Path,
    fitted_on: str,
) -> dict[str, Points]:
    """The points of each split; features are kept in ``cache``.

    Args:
        photos: ``(3, H, W)`` each, by split.
        truth: label maps ``(H, W)``, likewise.
        cache: a file for the features.
        fitted_on: the split whose photos say which 160 directions vary most; no truth is looked at.
    """
    if not cache.is_file():
        encode = LiteEncoder()
        raw = {
            split: [_described(encode, photo) for photo in tqdm(some)]
            for split, some in photos.items()
        }
        directions = Directions.of(torch.cat([points[::4] for points in raw[fitted_on]]))
        features = {split: [directions.along(one) for one in some] for split, some in raw.items()}
        with atomic_open(cache) as handle:
            torch.save(features, handle)
    loaded = torch.load(cache, weights_only=True)
    return {
        split: Points(loaded[split], [thinned(mask) for mask in truth[split]]) for split in photos
    }


def train_quick(
    num_classes: int,
    labelled: Points,
    unlabelled: Points,
    teacher: Loss | None,
    *,
    seed: int,
) -> nn.Module:
    """A student of the labelled points, and of what is said of the others where anything is.

    Args:
        num_classes: K.
        labelled: with their truth.
        unlabelled: their features alone are used.
        teacher: the loss of some of the unlabelled points, see :func:`taught`; None to leave
            them out.
        seed: of the student and of all that it sees.
    """
    known, classes = _joined(labelled.features, labelled.truth)
    known, classes = known[classes != IGNORE], classes[classes != IGNORE]
    others = None
    if teacher is not None:
        others = Unlabelled(torch.cat(list(unlabelled.features)), teacher)
    student = new_probe(known.shape[1], num_classes, seed)
    return train_probe(student, known, classes, others, seed=seed)


def taught(maps: Sequence[Bytes]) -> Loss:
    """Cross-entropy to label maps of the unlabelled points, as :func:`thinned` has them."""
    return loss_of_labels(_flat(maps), IGNORE)


def confusion_of(student: nn.Module, points: Points, num_classes: int) -> npt.NDArray[np.int64]:
    """Points by true class (rows) and predicted class, ``(K, K)``."""
    return confusion(student, *_joined(points.features, points.truth), num_classes, IGNORE)


def _joined(features: Sequence[Tensor], maps: Sequence[Bytes]) -> tuple[Tensor, Tensor]:
    return torch.cat(list(features)), _flat(maps)


def _flat(maps: Sequence[Bytes]) -> Tensor:
    return torch.from_numpy(np.concatenate([one.ravel() for one in maps])).long()


def _described(encode: LiteEncoder, photo: Bytes) -> Tensor:
    """What the encoder says of the points of a photo ``(3, H, W)``, ``(points, 472)``."""
    features: Tensor = encode(photo.transpose(1, 2, 0))
    return features.flatten(1).T
