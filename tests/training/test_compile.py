"""torch.compile takes a whole step as one graph and changes no number."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch._dynamo.testing
from torch import Tensor, nn
from torch.nn import functional as F

from conformal_plugin import ConformalSupervision, TwoStage


@pytest.fixture(autouse=True)
def _fresh_compiler() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def a_scalar(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, ignore_index=255)


def assert_same(supervise: ConformalSupervision, batch: Any, pseudo: Tensor, backend: Any) -> None:
    compiled = torch.compile(supervise, fullgraph=True, backend=backend)
    for valid in (batch.valid, torch.zeros_like(batch.valid)):
        supervise.reset()
        expected = supervise(batch.logits, pseudo, valid=valid)
        expected_gradient = torch.autograd.grad(expected, batch.logits)[0]
        counted = supervise._log.summary() if valid.any() else None
        supervise.reset()
        term = compiled(batch.logits, pseudo, valid=valid)
        torch.testing.assert_close(term, expected)
        torch.testing.assert_close(torch.autograd.grad(term, batch.logits)[0], expected_gradient)
        if counted:
            assert supervise.summary() == counted


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("criterion", [nn.CrossEntropyLoss(), a_scalar])
def test_label_maps(batch: Any, backend: str, criterion: Any) -> None:
    assert_same(ConformalSupervision(criterion), batch, batch.pseudo, backend)


@pytest.mark.parametrize("criterion", [nn.CrossEntropyLoss(), "focal"])
def test_weights(batch: Any, criterion: Any) -> None:
    supervise, weights = ConformalSupervision(criterion), batch.scores[:, 0]
    compiled = torch.compile(supervise, fullgraph=True, backend="aot_eager")
    expected = supervise(batch.logits, batch.pseudo, valid=batch.valid, weights=weights)
    term = compiled(batch.logits, batch.pseudo, valid=batch.valid, weights=weights)
    torch.testing.assert_close(term, expected)
    found, wanted = (torch.autograd.grad(t, batch.logits)[0] for t in (term, expected))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("rule", ["foreground-first", "most-probable", "singleton"])
@pytest.mark.parametrize("qhat", [0.6, [0.3, 0.4, 0.5, 0.6, 0.7]])
def test_scores(batch: Any, rule: str, qhat: Any) -> None:
    supervise = ConformalSupervision(nn.CrossEntropyLoss(), calibration=qhat, rule=rule)
    assert_same(supervise, batch, batch.scores, "aot_eager")


@pytest.mark.skipif(
    sys.platform == "win32" or shutil.which("g++") is None,
    reason="inductor needs a C++ compiler, which on Windows is another one",
)
def test_inductor(fresh_python: Callable[..., None]) -> None:
    """In a process of its own: it changes the import path and the environment."""
    code = (
        "import torch\n"
        "from conformal_plugin import ConformalSupervision\n"
        "logits = torch.randn(2, 5, 8, 9)\n"  # the forward pass alone: compiling C++ is slow
        "pseudo = torch.randint(0, 5, (2, 8, 9))\n"
        "pseudo[:, :3] = 255\n"
        "supervise = ConformalSupervision(torch.nn.CrossEntropyLoss())\n"
        "compiled = torch.compile(supervise, fullgraph=True)\n"
        "torch.testing.assert_close(compiled(logits, pseudo), supervise(logits, pseudo))\n"
    )
    fresh_python(code)


def test_epochs_do_not_compile_anew(batch: Any) -> None:
    counter = torch._dynamo.testing.CompileCounterWithBackend("aot_eager")
    supervise = ConformalSupervision(nn.CrossEntropyLoss(), schedule=TwoStage(10, 20))
    compiled = torch.compile(supervise, fullgraph=True, backend=counter)
    terms = [compiled(batch.logits, batch.pseudo, epoch=epoch).item() for epoch in range(20)]
    assert [term > 0 for term in terms] == [True] * 10 + [False] * 10
    assert counter.frame_count <= 5
    assert supervise._epoch == 19
    pixels = supervise.summary()["valid_pixels"]
    assert pixels == 10 * batch.pseudo.numel()
