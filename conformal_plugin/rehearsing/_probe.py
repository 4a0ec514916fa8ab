"""A student that trains in seconds: a small network on what an encoder says of points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Loss", "Unlabelled", "confusion", "loss_of_labels", "new_probe", "train_probe"]

_STEPS: Final = 200
_BATCH: Final = 512
_RATE: Final = 4e-3
_WARMUP: Final = 15


Loss = Callable[[nn.Module, Tensor, Tensor, float], Tensor]
"""Of the student, its logits, which points these are, and how far the training is, from 0 to 1."""


class Unlabelled(NamedTuple):
    """Points without a true class, and what is learnt of them.

    Attributes:
        features: ``(points, C)``.
        loss: of some of them, see :func:`loss_of_labels`.
    """

    features: Tensor
    loss: Loss


def new_probe(features: int, num_classes: int, seed: int) -> nn.Module:
    """An untrained student of points with so many features."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(*_layer(features, 128), *_layer(128, 96), nn.Linear(96, num_classes))


def train_probe(
    student: nn.Module,
    features: Tensor,
    labels: Tensor,
    unlabelled: Unlabelled | None = None,
    *,
    seed: int,
) -> nn.Module:
    """Train for 200 steps of 512 labelled points, and as many others, and return the student.

    Args:
        student: of :func:`new_probe`.
        features: of the labelled points, ``(points, C)``.
        labels: their classes, ``(points,)``.
        unlabelled: what else is learnt; None to leave it out.
        seed: of what is drawn.
    """
    drawn = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(student.parameters(), lr=_RATE, weight_decay=2e-2)
    student.train()
    for step in range(_STEPS):
        for group in optimizer.param_groups:
            group["lr"] = _RATE * min(1.0, (step + 1) / _WARMUP) * (1 - step / _STEPS) ** 0.9
        some = torch.randint(0, len(labels), (_BATCH,), generator=drawn)
        if unlabelled is None:
            loss = F.cross_entropy(student(features[some].float()), labels[some])
        else:
            more, of_others = unlabelled
            others = torch.randint(0, len(more), (_BATCH,), generator=drawn)
            logits = student(torch.cat([features[some].float(), more[others].float()]))
            right = F.cross_entropy(logits[:_BATCH], labels[some])
            loss = (right + of_others(student, logits[_BATCH:], others, step / _STEPS)) / 2
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return student.eval()


def loss_of_labels(given: Tensor, ignore_index: int) -> Loss:
    """Cross-entropy to labels of the unlabelled points; a zero in the graph where none is kept.

    Args:
        given: of every unlabelled point, ``(points,)``.
        ignore_index: the label of points without one.
    """

    def loss(student: nn.Module, logits: Tensor, which: Tensor, far: float) -> Tensor:
        del student, far
        labels = given[which]
        total = F.cross_entropy(logits, labels, ignore_index=ignore_index, reduction="sum")
        return total / (labels != ignore_index).sum().clamp_min(1)

    return loss


@torch.no_grad()
def confusion(
    student: nn.Module, features: Tensor, truth: Tensor, classes: int, ignore_index: int
) -> npt.NDArray[np.int64]:
    """Points by true class (rows) and by the student's, ``(K, K)``."""
    right = truth != ignore_index
    label = student(features[right].float()).argmax(1)
    pairs = torch.bincount(truth[right] * classes + label, minlength=classes**2)
    counts: npt.NDArray[np.int64] = pairs.reshape(classes, classes).numpy()
    return counts


def _layer(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()
