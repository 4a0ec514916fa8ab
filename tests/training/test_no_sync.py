"""Nothing in a training step reads a value back from the device."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from conformal_plugin import ConformalSupervision, TwoStage, cutmix
from conformal_plugin.errors import LabelError
from conformal_plugin.training import KeptShareWarning

RULES = ["foreground-first", "most-probable", "singleton"]
READS = {
    torch.ops.aten._local_scalar_dense,
    torch.ops.aten.nonzero,
    torch.ops.aten.masked_select,
    torch.ops.aten.bincount,
    torch.ops.aten.is_nonzero,
    torch.ops.aten.item,
    torch.ops.aten.equal,
    torch.ops.aten._unique2,
    torch.ops.aten.unique_dim,
    torch.ops.aten.repeat_interleave,
}


class NoReads(TorchDispatchMode):
    """Fails on every operation whose result or shape depends on reading a tensor's values."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        packet = func.overloadpacket
        assert packet not in READS, f"{func} waits for the device"
        if packet in (torch.ops.aten.index, torch.ops.aten.index_put, torch.ops.aten.index_put_):
            masks = [i for i in args[1] if i is not None and i.dtype in (torch.bool, torch.uint8)]
            assert not masks, f"{func} with a mask waits for the device"
        device = (kwargs or {}).get("device")
        first = args[0] if args and isinstance(args[0], Tensor) else None
        assert device is None or first is None or torch.device(device) == first.device
        return func(*args, **(kwargs or {}))


@pytest.fixture
def _as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the paths of devices whose values must not be read."""
    monkeypatch.setattr("conformal_plugin.training._device_values.compiling", lambda: True)


def a_scalar(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, ignore_index=255)


def train(logits: Tensor, pseudo: Tensor, valid: Tensor, scores: Tensor) -> None:
    """Steps of every kind."""
    for criterion in (nn.CrossEntropyLoss(), a_scalar):
        for denominator in ("valid", "kept"):
            supervise = ConformalSupervision(
                criterion, schedule=TwoStage(1, 2), denominator=denominator
            )
            for epoch in (0, 0, 1):
                supervise(logits, pseudo, epoch=epoch).backward()
                supervise(logits, pseudo, epoch=epoch, valid=valid).backward()
                if criterion is not a_scalar:
                    supervise(logits, pseudo, epoch=epoch, weights=scores[:, 0]).backward()
            supervise.reset()
    for rule in RULES:
        for qhat in (0.6, [0.5, 0.6, 0.7, 0.8, 0.9]):
            supervise = ConformalSupervision(nn.CrossEntropyLoss(), calibration=qhat, rule=rule)
            supervise(logits, scores, valid=valid).backward()
    cutmix(scores, scores.flip(0), valid)
    cutmix(pseudo, pseudo.flip(0), valid.long())


@pytest.mark.usefixtures("_as_on_a_gpu")
def test_no_operation_reads_values(batch: Any) -> None:
    with NoReads():
        train(batch.logits, batch.pseudo, batch.valid, batch.scores)


def test_the_proof_would_notice(batch: Any) -> None:
    with NoReads():
        with pytest.raises(AssertionError, match="waits for the device"):
            batch.valid.sum().item()
        with pytest.raises(AssertionError, match="waits for the device"):
            batch.pseudo[batch.valid]


def test_runs_on_the_meta_device_where_there_are_no_values(batch: Any) -> None:
    train(
        batch.logits.detach().to("meta").requires_grad_(),
        batch.pseudo.to("meta"),
        batch.valid.to("meta"),
        batch.scores.to("meta"),
    )


@pytest.mark.usefixtures("_as_on_a_gpu")
def test_runs_on_fake_tensors() -> None:
    with FakeTensorMode():
        train(
            torch.randn(2, 5, 8, 9, requires_grad=True),
            torch.zeros(2, 8, 9, dtype=torch.uint8),
            torch.ones(2, 8, 9, dtype=torch.bool),
            torch.rand(2, 5, 8, 9),
        )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_no_step_waits_for_cuda(batch: Any) -> None:
    tensors = (
        batch.logits.detach().cuda().requires_grad_(),
        batch.pseudo.cuda(),
        batch.valid.cuda(),
        batch.scores.cuda(),
    )
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        train(*tensors)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.usefixtures("_as_on_a_gpu")
def test_stray_labels_are_left_out_and_raise_in_the_summary(batch: Any) -> None:
    supervise = ConformalSupervision(nn.CrossEntropyLoss())
    expected = supervise(batch.logits, batch.pseudo)
    stray = batch.pseudo.clone()
    stray[batch.pseudo == 255] = 254
    assert torch.equal(supervise(batch.logits, stray), expected)
    count = int((stray == 254).sum())
    with pytest.raises(LabelError) as caught:
        supervise.summary()
    assert f"{count} of {2 * stray.numel()} pixels since the last reset" in str(caught.value)
    assert "padding (254 in some hosts) with valid=False" in str(caught.value)
    supervise.reset()
    supervise(batch.logits, stray, valid=stray != 254)
    with pytest.warns(KeptShareWarning):  # what is not padding is all kept here
        assert supervise.summary()["valid_pixels"] == stray.numel() - count
