"""Batches that the tests of the training side share."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor


@dataclass
class Batch:
    """Student logits, pseudo-labels with dropped pixels, and a mask with padding."""

    logits: Tensor
    pseudo: Tensor
    valid: Tensor
    scores: Tensor

    @property
    def keep(self) -> Tensor:
        return (self.pseudo != 255) & self.valid


def make_batch(seed: int = 0, n: int = 2, k: int = 5, h: int = 8, w: int = 9) -> Batch:
    draw = torch.Generator().manual_seed(seed)
    pseudo = torch.randint(0, k, (n, h, w), generator=draw)
    pseudo[torch.rand(n, h, w, generator=draw) < 0.3] = 255
    return Batch(
        logits=torch.randn(n, k, h, w, generator=draw).requires_grad_(),
        pseudo=pseudo,
        valid=torch.rand(n, h, w, generator=draw) < 0.8,
        scores=torch.randn(n, k, h, w, generator=draw).mul(2).softmax(1),
    )


@pytest.fixture
def batch() -> Batch:
    return make_batch()
