"""ConformalSupervision: values and gradients against plain torch, for every kind of criterion."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

import conformal_plugin
from conformal_plugin import ConformalSupervision, TwoStage
from conformal_plugin.errors import OptionError

Criterion = Callable[[Tensor, Tensor], Tensor]


def dice(logits: Tensor, target: Tensor) -> Tensor:
    """Soft Dice over the classes, on the pixels that are not 255."""
    keep = (target != 255).unsqueeze(1)
    onehot = F.one_hot(target.clamp(max=logits.shape[1] - 1), logits.shape[1]).movedim(-1, 1)
    onehot = onehot * keep
    probability = logits.softmax(1) * keep
    overlap = (probability * onehot).sum((0, 2, 3))
    return 1 - (2 * overlap / (probability + onehot).sum((0, 2, 3))).mean()


class Ohem(nn.Module):
    """The mean over the harder half of the kept pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.ignore_label = -7

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        losses = F.cross_entropy(logits, target, ignore_index=-7, reduction="none").flatten()
        keep = (target != -7).flatten()
        median = losses.where(keep, math.nan).nanmedian()
        hard = keep & (losses >= median)
        return losses.where(hard, 0).sum() / hard.sum()


class LearntScale(nn.Module):
    """A criterion with a parameter and no reduction."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits * self.scale, target, ignore_index=255, reduction="none")


SCALAR: dict[str, Criterion] = {
    "functional": F.cross_entropy,
    "partial": functools.partial(F.cross_entropy, ignore_index=-1),
    "function": lambda logits, target: F.cross_entropy(logits, target, ignore_index=255),
    "dice": dice,
    "ohem": Ohem(),
}
MAP: dict[str, Criterion] = {
    "mean": nn.CrossEntropyLoss(),
    "sum": nn.CrossEntropyLoss(reduction="sum", ignore_index=255),
    "none": nn.CrossEntropyLoss(reduction="none", ignore_index=-1),
    "weighted": nn.CrossEntropyLoss(weight=torch.tensor([0.0, 1, 2, 3, 4])),
    "smooth": nn.CrossEntropyLoss(label_smoothing=0.1),
    "nll": nn.NLLLoss(),
    "learnt": LearntScale(),
}


def kept_mean_reference(name: str, logits: Tensor, target: Tensor, keep: Tensor) -> Tensor:
    """The criterion on the kept pixels alone, picked by indexing."""
    picked = logits.movedim(1, -1)[keep].T[None, :, :, None]
    labels = target[keep][None, :, None]
    return (SCALAR | MAP)[name](picked, labels)


def sum_reference(name: str, logits: Tensor, target: Tensor, keep: Tensor) -> Tensor:
    """The sum of the criterion's values at the kept pixels, picked by indexing."""
    picked, labels = logits.movedim(1, -1)[keep], target[keep]
    if name == "nll":
        return F.nll_loss(picked, labels, reduction="sum")
    options: dict[str, Any] = {}
    if name == "weighted":
        options["weight"] = torch.tensor([0.0, 1, 2, 3, 4])
    if name == "smooth":
        options["label_smoothing"] = 0.1
    factor = 2.0 if name == "learnt" else 1.0
    return F.cross_entropy(picked * factor, labels, reduction="sum", **options)


def gradient(value: Tensor, logits: Tensor) -> Tensor:
    return torch.autograd.grad(value, logits)[0]


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("denominator", ["valid", "kept"])
@pytest.mark.parametrize("name", MAP)
def test_map_criteria_sum_over_kept_pixels(
    batch: Any, name: str, denominator: str, padded: bool
) -> None:
    keep = batch.keep if padded else batch.pseudo != 255
    n_valid = int(batch.valid.sum()) if padded else batch.valid.numel()
    supervise = ConformalSupervision(MAP[name], denominator=denominator, weight=0.5)
    term = supervise(batch.logits, batch.pseudo, valid=batch.valid if padded else None)
    divisor = n_valid if denominator == "valid" else int(keep.sum())
    expected = 0.5 * sum_reference(name, batch.logits, batch.pseudo, keep) / divisor
    torch.testing.assert_close(term, expected)
    torch.testing.assert_close(gradient(term, batch.logits), gradient(expected, batch.logits))


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("denominator", ["valid", "kept"])
@pytest.mark.parametrize("name", SCALAR)
def test_scalar_criteria_are_means_over_kept_pixels(
    batch: Any, name: str, denominator: str, padded: bool
) -> None:
    keep = batch.keep if padded else batch.pseudo != 255
    n_valid = int(batch.valid.sum()) if padded else batch.valid.numel()
    supervise = ConformalSupervision(SCALAR[name], denominator=denominator)
    term = supervise(batch.logits, batch.pseudo, valid=batch.valid if padded else None)
    share = int(keep.sum()) / n_valid if denominator == "valid" else 1.0
    expected = share * kept_mean_reference(name, batch.logits, batch.pseudo, keep)
    torch.testing.assert_close(term, expected)
    torch.testing.assert_close(gradient(term, batch.logits), gradient(expected, batch.logits))


@given(seed=st.integers(0, 2**16), k=st.integers(2, 300), h=st.integers(1, 5), w=st.integers(1, 5))
def test_equals_what_the_hosts_compute(seed: int, k: int, h: int, w: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, k, h, w, generator=draw, requires_grad=True)
    pseudo = torch.randint(-1, k, (2, h, w), generator=draw, dtype=torch.int16)
    valid = torch.rand(2, h, w, generator=draw) < 0.7
    supervise = ConformalSupervision(nn.CrossEntropyLoss(), ignore_index=-1)
    term = supervise(logits, pseudo, valid=valid)
    losses = F.cross_entropy(logits, pseudo.long(), ignore_index=-1, reduction="none")
    expected = (losses * valid).sum() / valid.sum().clamp(min=1)
    torch.testing.assert_close(term, expected)
    torch.testing.assert_close(gradient(term, logits), gradient(expected, logits))


@pytest.mark.parametrize("nothing", ["kept", "valid"])
@pytest.mark.parametrize("denominator", ["valid", "kept"])
@pytest.mark.parametrize("name", [*MAP, *SCALAR])
def test_no_kept_pixel_gives_a_zero_in_the_graph(
    batch: Any, name: str, denominator: str, nothing: str
) -> None:
    supervise = ConformalSupervision((MAP | SCALAR)[name], denominator=denominator)
    pseudo = torch.full_like(batch.pseudo, 255) if nothing == "kept" else batch.pseudo
    valid = torch.full_like(batch.valid, nothing == "kept")
    model = nn.Conv2d(5, 5, 1)
    term = supervise(model(batch.logits), pseudo, valid=valid)
    assert term.item() == 0
    term.backward()
    for tensor in (*model.parameters(), batch.logits):
        assert torch.equal(tensor.grad, torch.zeros_like(tensor))


def test_a_class_without_weight_does_not_break_the_lent_pixels(batch: Any) -> None:
    weight = torch.tensor([0.0, 1, 1, 1, 1])

    def criterion(logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits, target, weight=weight, ignore_index=255)

    term = ConformalSupervision(criterion)(batch.logits, torch.full_like(batch.pseudo, 255))
    term.backward()
    assert term.item() == 0
    assert torch.equal(batch.logits.grad, torch.zeros_like(batch.logits))


def test_an_empty_batch_gives_a_zero_in_the_graph() -> None:
    logits = torch.zeros(0, 5, 4, 4, requires_grad=True)
    term = ConformalSupervision(nn.CrossEntropyLoss())(logits, torch.zeros(0, 4, 4).long())
    term.backward()
    assert term.item() == 0


def test_infinite_logits_of_dropped_pixels_stay_out_of_the_value(batch: Any) -> None:
    dropped = (batch.pseudo == 255).unsqueeze(1)
    supervise = ConformalSupervision(nn.CrossEntropyLoss())
    clean = supervise(batch.logits, batch.pseudo)
    assert torch.equal(supervise(batch.logits.masked_fill(dropped, math.inf), batch.pseudo), clean)


def test_the_users_criterion_is_not_changed(batch: Any) -> None:
    criterion = nn.CrossEntropyLoss(weight=torch.ones(5), reduction="sum")
    supervise = ConformalSupervision(criterion).double()
    supervise(batch.logits.double(), batch.pseudo)
    assert criterion.reduction == "sum"
    assert criterion.ignore_index == -100
    assert criterion.weight is not None
    assert criterion.weight.dtype == torch.float32


def test_parameters_of_the_criterion_are_shared_and_learn(batch: Any) -> None:
    class Scaled(nn.CrossEntropyLoss):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.tensor(1.0))

        def forward(self, logits: Tensor, target: Tensor) -> Tensor:
            return super().forward(logits * self.scale, target)

    criterion = Scaled()
    supervise = ConformalSupervision(criterion)
    assert [id(p) for p in supervise.parameters()] == [id(criterion.scale)]
    supervise(batch.logits, batch.pseudo).backward()
    assert criterion.scale.grad is not None


def test_stage_two_is_a_zero_without_the_criterion(batch: Any) -> None:
    def criterion(logits: Tensor, target: Tensor) -> Tensor:
        raise AssertionError("called in stage II")

    supervise = ConformalSupervision(criterion, schedule=TwoStage(3, 5))
    for pseudo in (batch.pseudo, None):
        logits = batch.logits.detach().clone().fill_(math.inf).requires_grad_()
        term = supervise(logits, pseudo, epoch=3)
        term.backward()
        assert term.item() == 0
        assert torch.equal(logits.grad, torch.zeros_like(logits))
    assert supervise.summary()["valid_pixels"] == 0
    with pytest.raises(OptionError, match="called in stage II"):
        supervise(batch.logits, batch.pseudo, epoch=2)


@pytest.mark.parametrize("rule", ["foreground-first", "most-probable", "singleton"])
@pytest.mark.parametrize("qhat", [0.6, [0.3, 0.4, 0.5, 0.6, 0.7]])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_scores_are_filtered_as_filter_does(
    batch: Any, monkeypatch: pytest.MonkeyPatch, rule: str, qhat: Any, dtype: torch.dtype
) -> None:
    scores = batch.scores.to(dtype)
    ready = torch.as_tensor(conformal_plugin.filter(scores, qhat, rule=rule))
    plain = ConformalSupervision(nn.CrossEntropyLoss())
    expected = plain(batch.logits, ready, valid=batch.valid)
    supervise = ConformalSupervision(nn.CrossEntropyLoss(), calibration=qhat, rule=rule)
    assert torch.equal(supervise(batch.logits, scores, valid=batch.valid), expected)
    # The path of a GPU, where no value may be read:
    monkeypatch.setattr("conformal_plugin.training._device_values.compiling", lambda: True)
    assert torch.equal(supervise(batch.logits, scores, valid=batch.valid), expected)
    assert supervise.summary() == _doubled(plain.summary())


def _doubled(summary: dict[str, Any]) -> dict[str, Any]:
    counts = ("kept_pixels", "valid_pixels")
    doubled = {name: 2 * summary[name] for name in counts}
    doubled["kept_pixels_per_class"] = [2 * count for count in summary["kept_pixels_per_class"]]
    return summary | doubled


def test_a_calibration_object_filters_and_brings_its_classes(batch: Any) -> None:
    labels = np.asarray(batch.scores.argmax(1))
    calibration = conformal_plugin.calibrate(batch.scores.numpy(), labels, alpha=0.2)
    supervise = ConformalSupervision(nn.CrossEntropyLoss(), calibration=calibration)
    assert supervise.num_classes == 5
    ready = conformal_plugin.filter(batch.scores, calibration)
    assert torch.equal(
        supervise(batch.logits, batch.scores),
        ConformalSupervision(nn.CrossEntropyLoss())(batch.logits, ready),
    )


def test_scores_get_no_gradient(batch: Any) -> None:
    scores = batch.scores.requires_grad_()
    ConformalSupervision(nn.CrossEntropyLoss(), calibration=0.6)(batch.logits, scores).backward()
    assert scores.grad is None


def test_repr_tells_the_options() -> None:
    text = repr(ConformalSupervision(nn.CrossEntropyLoss(), schedule=TwoStage.voc(), weight=0.5))
    assert "weight=0.5" in text
    assert "denominator='valid'" in text
    assert "TwoStage(stage1=60, total=80" in text
