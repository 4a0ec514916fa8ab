"""What is asked of a criterion before it is used."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from conformal_plugin import ConformalSupervision
from conformal_plugin.training.criteria import ignored_label, unreduced


class Labelled:
    """A criterion of an older host."""

    ignore_label = -3

    def __call__(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor: ...


@pytest.mark.parametrize(
    ("criterion", "label"),
    [
        (nn.CrossEntropyLoss(), -100),
        (nn.CrossEntropyLoss(ignore_index=255), 255),
        (Labelled(), -3),
        (F.cross_entropy, -100),
        (functools.partial(F.cross_entropy, ignore_index=7), 7),
        (lambda logits, target: logits.sum(), 255),
        (lambda logits, target, ignore_index: logits.sum(), 255),
        (torch.dist, 255),  # built in: shows no signature
        (nn.Identity(), 255),
    ],
)
def test_the_label_that_is_skipped(criterion: object, label: int) -> None:
    assert ignored_label(criterion, default=255) == label


def test_only_a_reduction_makes_a_copy() -> None:
    criterion = nn.CrossEntropyLoss()
    twin = unreduced(criterion)
    assert twin is not criterion
    assert getattr(twin, "reduction", None) == "none"
    assert unreduced(F.cross_entropy) is F.cross_entropy


def test_rows_shorter_than_the_class_list() -> None:
    logits = torch.zeros(1, 5, 3, 2, requires_grad=True)
    term = ConformalSupervision(F.cross_entropy)(logits, torch.full((1, 3, 2), 255))
    term.backward()
    assert term.item() == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))
