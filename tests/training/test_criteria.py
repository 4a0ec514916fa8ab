"""What is asked of a criterion before it is used."""

from __future__ import annotations

import functools

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from conformal_plugin import ConformalSupervision
from conformal_plugin.training._criteria import ignored_label, without_mean


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


class _Hard(nn.CrossEntropyLoss):
    """A user's subclass, which may do anything with its reduction."""


@pytest.mark.parametrize(
    ("criterion", "reduction"),
    [
        (nn.CrossEntropyLoss(), "sum"),
        (nn.CrossEntropyLoss(reduction="sum"), "sum"),
        (nn.CrossEntropyLoss(reduction="none"), "none"),
        (nn.NLLLoss(), "none"),
        (_Hard(), "none"),
    ],
)
def test_only_a_reduction_makes_a_copy(criterion: nn.Module, reduction: str) -> None:
    twin = without_mean(criterion)
    assert twin is not criterion
    assert getattr(twin, "reduction", None) == reduction
    assert without_mean(F.cross_entropy) is F.cross_entropy


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("denominator", ["valid", "kept"])
def test_adding_up_in_one_call_is_the_same(
    smoothing: float, weighted: bool, denominator: str
) -> None:
    draw = torch.Generator().manual_seed(0)
    data = torch.randn(2, 4, 9, 7, generator=draw)
    pseudo = torch.randint(4, (2, 9, 7), generator=draw)
    pseudo[torch.rand(pseudo.shape, generator=draw) < 0.4] = 255
    valid = torch.rand(pseudo.shape, generator=draw) < 0.8
    weight = torch.tensor([0.5, 1.0, 2.0, 0.0]) if weighted else None
    found = []
    for reduction in ("mean", "none"):
        criterion = nn.CrossEntropyLoss(weight, reduction=reduction, label_smoothing=smoothing)
        logits = data.clone().requires_grad_()
        term = ConformalSupervision(criterion, denominator=denominator)(logits, pseudo, valid=valid)
        term.backward()
        found.append((term.detach(), logits.grad))
    for mine, theirs in zip(*found):
        torch.testing.assert_close(mine, theirs)
    assert found[0][0] > 0


def test_rows_shorter_than_the_class_list() -> None:
    logits = torch.zeros(1, 5, 3, 2, requires_grad=True)
    term = ConformalSupervision(F.cross_entropy)(logits, torch.full((1, 3, 2), 255))
    term.backward()
    assert term.item() == 0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))
