"""Mixed precision: half logits, autocast, and sums that would overflow float16."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from conformal_plugin import ConformalSupervision, TwoStage

HALVES = [torch.float16, torch.bfloat16]


@pytest.mark.parametrize("dtype", HALVES)
def test_half_logits_give_the_float32_term(batch: Any, dtype: torch.dtype) -> None:
    logits = batch.logits.detach().to(dtype).requires_grad_()
    supervise = ConformalSupervision(nn.CrossEntropyLoss())
    term = supervise(logits, batch.pseudo)
    assert term.dtype == torch.float32
    assert torch.equal(term, supervise(logits.float(), batch.pseudo))
    term.backward()
    assert logits.grad is not None
    assert logits.grad.dtype == dtype
    assert bool(logits.grad.isfinite().all())


@pytest.mark.parametrize("dtype", HALVES)
def test_a_batch_of_crops_of_321_does_not_overflow(dtype: torch.dtype) -> None:
    logits = torch.zeros(8, 2, 321, 321, dtype=dtype, requires_grad=True)
    pseudo = torch.ones(8, 321, 321, dtype=torch.uint8)

    def half_values(logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits, target, reduction="none").to(dtype)

    for criterion in (nn.CrossEntropyLoss(), half_values):
        term = ConformalSupervision(criterion)(logits, pseudo)
        assert term.item() == pytest.approx(0.6931, rel=1e-3 if dtype == torch.float16 else 1e-2)


def test_a_half_scalar_does_not_overflow() -> None:
    def criterion(logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits, target).half()

    logits = torch.zeros(1, 2, 400, 400, dtype=torch.float16)
    term = ConformalSupervision(criterion)(logits, torch.ones(1, 400, 400).long())
    assert term.dtype == torch.float32
    assert term.item() == pytest.approx(0.6931, rel=1e-3)


def casts_to(dtype: torch.dtype) -> bool:
    """Whether autocast knows this dtype on a CPU: torch 2.1 has bfloat16 alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with torch.autocast("cpu", dtype):
                return torch.mm(torch.ones(1, 1), torch.ones(1, 1)).dtype == dtype
        except RuntimeError:
            return False


@pytest.mark.parametrize("dtype", [dtype for dtype in HALVES if casts_to(dtype)])
def test_autocast(batch: Any, dtype: torch.dtype) -> None:
    model = nn.Conv2d(5, 5, 1)
    supervise = ConformalSupervision(nn.CrossEntropyLoss(), schedule=TwoStage(1, 2))
    with torch.autocast("cpu", dtype):
        logits = model(batch.logits)
        assert logits.dtype == dtype
        term = supervise(logits, batch.pseudo, epoch=0)
        zero = supervise(logits, batch.pseudo, epoch=1)
    assert term.dtype == zero.dtype == torch.float32
    torch.testing.assert_close(term, supervise(logits.float(), batch.pseudo, epoch=0))
    (term + zero).backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters())


def test_float64_stays_float64(batch: Any) -> None:
    supervise = ConformalSupervision(nn.CrossEntropyLoss(), schedule=TwoStage(1, 2))
    for epoch in (0, 1):
        assert supervise(batch.logits.double(), batch.pseudo, epoch=epoch).dtype == torch.float64
