"""A student that trains in seconds: a small network on what an encoder says of points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Unlabelled", "new_probe", "train_probe"]

_STEPS: Final = 200
_BATCH: Final = 512
_RATE: Final = 4e-3
_WARMUP: Final = 15


class Unlabelled(NamedTuple):
    """Points without a true class, and what is learnt of them.

    Attributes:
        features: ``(points, C)``.
        loss: of the student, its logits, which points these are, and how far the training is, from
            0 to 1.
    """

    features: Tensor
    loss: Callable[[torch.nn.Module, Tensor, Tensor, float], Tensor]


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


def _layer(inputs: int, outputs: int) -> tuple[nn.Module, ...]:
    return nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()
