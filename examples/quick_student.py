"""A student that trains in seconds: a small network on the frozen features of an ImageNet encoder.

Every eighth pixel of a photo is a point with 160 numbers; a step sees 512 labelled points and as
many others. It is for studies with hundreds of students: what it says of labels is to be confirmed
with students that are trained whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from material import IGNORE
from students import PretrainedStudent
from torch import Tensor, nn
from tqdm import tqdm

from conformal_plugin._atomic import atomic_open

__all__ = [
    "Points",
    "Teacher",
    "confusion_of",
    "read_points",
    "taught",
    "thinned",
    "train_quick",
]

STEP = 8  # pixels between points, the encoder's finest stride in use
NUMBERS = 160
STEPS, BATCH, RATE, WARMUP = 200, 512, 4e-3, 15

Bytes = npt.NDArray[np.uint8]
Teacher = Callable[[nn.Module, Tensor, Tensor, float], Tensor]
"""The loss of unlabelled points: of the student, its logits, which points, and how far it is."""


@dataclass(frozen=True)
class Points:
    """Features of the points of photos, a tensor ``(points, 160)`` each, and their true classes."""

    features: Sequence[Tensor]
    truth: Sequence[Bytes]


def thinned(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The points of an array ``(..., H, W)``: the centres of 8 x 8 cells of the padded photo."""
    height, width = array.shape[-2:]
    rows, columns = (_centres(side) for side in (height, width))
    return array[..., rows[:, None], columns[None]]


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
        raw = {split: [_described(photo) for photo in tqdm(some)] for split, some in photos.items()}
        sample = torch.cat([points[::4] for points in raw[fitted_on]])
        mean, spread = sample.mean(0), sample.std(0) + 1e-6
        scaled = (sample - mean) / spread
        directions = torch.linalg.eigh(scaled.T @ scaled / len(scaled)).eigenvectors[:, -NUMBERS:]
        size = (scaled @ directions).std(0).clamp_min(1e-3)
        size = size.sqrt() * size.mean().sqrt()
        features = {
            split: [(((one - mean) / spread) @ directions / size).half() for one in some]
            for split, some in raw.items()
        }
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
    teacher: Teacher | None,
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
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        student = nn.Sequential(*_layer(NUMBERS, 128), *_layer(128, 96), nn.Linear(96, num_classes))
    drawn = torch.Generator().manual_seed(seed)
    known, classes = _joined(labelled.features, labelled.truth)
    known, classes = known[classes != IGNORE], classes[classes != IGNORE]
    more = None if teacher is None else torch.cat(list(unlabelled.features))
    optimizer = torch.optim.AdamW(student.parameters(), lr=RATE, weight_decay=2e-2)
    student.train()
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / WARMUP) * (1 - step / STEPS) ** 0.9
        some = torch.randint(0, len(classes), (BATCH,), generator=drawn)
        if more is None or teacher is None:
            loss = F.cross_entropy(student(known[some].float()), classes[some])
        else:
            others = torch.randint(0, len(more), (BATCH,), generator=drawn)
            logits = student(torch.cat([known[some].float(), more[others].float()]))
            right = F.cross_entropy(logits[:BATCH], classes[some])
            loss = (right + teacher(student, logits[BATCH:], others, step / STEPS)) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return student.eval()


def taught(maps: Sequence[Bytes]) -> Teacher:
    """Cross-entropy to label maps of the unlabelled points, as :func:`thinned` has them."""
    given = _flat(maps)
    return lambda student, logits, which, progress: _of_kept(logits, given[which])


@torch.no_grad()
def confusion_of(student: nn.Module, points: Points, num_classes: int) -> npt.NDArray[np.int64]:
    """Points by true class (rows) and predicted class, ``(K, K)``."""
    features, truth = _joined(points.features, points.truth)
    predicted = student(features.float()).argmax(1)
    kept = truth != IGNORE
    pairs = torch.bincount(truth[kept] * num_classes + predicted[kept], minlength=num_classes**2)
    counts: npt.NDArray[np.int64] = pairs.reshape(num_classes, num_classes).numpy()
    return counts


def _layer(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()


def _joined(features: Sequence[Tensor], maps: Sequence[Bytes]) -> tuple[Tensor, Tensor]:
    return torch.cat(list(features)), _flat(maps)


def _flat(maps: Sequence[Bytes]) -> Tensor:
    return torch.from_numpy(np.concatenate([one.ravel() for one in maps])).long()


def _of_kept(logits: Tensor, given: Tensor) -> Tensor:
    if bool((given != IGNORE).any()):
        return F.cross_entropy(logits, given, ignore_index=IGNORE)
    return logits.sum() * 0


@torch.no_grad()
def _described(photo: Bytes) -> Tensor:
    """Three layers of the encoder at the points, ``(points, 472)``."""
    size = [-(-side // 32) * 32 for side in photo.shape[1:]]
    image = torch.from_numpy(photo).float()[None] / 255
    image = F.interpolate(image, size=size, mode="bilinear", align_corners=False)
    layers: list[Tensor] = []
    for layer in _encoder()(image):
        fine = layers[0] if layers else layer
        layers.append(
            F.interpolate(layer, size=fine.shape[2:], mode="bilinear", align_corners=False)
        )
    return torch.cat(layers, 1)[0].flatten(1).T


_ENCODERS: list[PretrainedStudent] = []


def _encoder() -> Callable[[Tensor], list[Tensor]]:
    if not _ENCODERS:
        _ENCODERS.append(PretrainedStudent(2).eval())
    student = _ENCODERS[0]

    def layers(image: Tensor) -> list[Tensor]:
        found = []
        x = F.relu6(student.stem_norm(student.stem((image - student.mean) / student.std)))
        taps = [tap for tap, _ in student.TAPS]
        for index, block in enumerate(student.blocks):
            x = block(x)
            if index in taps:
                found.append(x.half().float())
        return found

    return layers


def _centres(side: int) -> npt.NDArray[np.int64]:
    padded = -(-side // 32) * 32
    return ((np.arange(padded // STEP) + 0.5) * STEP * side / padded).astype(np.int64)
