"""TwoStage: stages, the decay of lambda, blending, bad numbers."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from conformal_plugin import ConformalSupervision, TwoStage
from conformal_plugin.errors import InputTypeError, OptionError


@st.composite
def schedules(draw: st.DrawFn) -> TwoStage:
    total = draw(st.integers(1, 500))
    start = draw(st.floats(1e-3, 1.0))
    return TwoStage(
        stage1=draw(st.integers(0, total)),
        total=total,
        lambda_start=start,
        lambda_end=draw(st.floats(1e-4, 1e-3)),
    )


def test_presets_are_those_of_the_paper() -> None:
    assert TwoStage.voc() == TwoStage(stage1=60, total=80, lambda_start=0.5, lambda_end=0.05)
    assert TwoStage.ade20k() == TwoStage(30, 40)


def test_schedule_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        TwoStage.voc().stage1 = 1  # type: ignore[misc]


@given(schedules(), st.integers(0, 600))
def test_stage_one_is_the_epochs_below_stage1(schedule: TwoStage, epoch: int) -> None:
    assert schedule.stage(epoch) == (1 if epoch < schedule.stage1 else 2)


@given(schedules())
def test_lambda_runs_from_start_to_end_at_a_constant_ratio(schedule: TwoStage) -> None:
    values = [schedule.lam(epoch) for epoch in range(schedule.stage1, schedule.total)]
    if not values:
        return
    assert values[0] == schedule.lambda_start
    if len(values) > 1:
        assert values[-1] == pytest.approx(schedule.lambda_end)
        ratios = [after / before for before, after in itertools.pairwise(values)]
        assert ratios == pytest.approx([ratios[0]] * len(ratios))
        assert max(ratios) <= 1


def test_lambda_outside_stage_two_is_held() -> None:
    schedule = TwoStage(3, 8, lambda_start=0.4, lambda_end=0.1)
    assert schedule.lam(0) == schedule.lam(2.5) == schedule.lam(3) == 0.4
    assert schedule.lam(7) == pytest.approx(0.1)
    assert schedule.lam(7.9) == schedule.lam(100) == pytest.approx(0.1)


def test_schedules_of_one_stage() -> None:
    host = TwoStage(stage1=0, total=10)
    assert host.stage(0) == 2
    assert host.lam(0) == 0.5
    conformal = TwoStage(stage1=10, total=10)
    assert conformal.stage(9) == 1
    assert conformal.lam(9) == 0.5
    assert TwoStage(stage1=9, total=10).lam(9) == 0.5


def test_blend_adds_in_stage_one_and_weighs_in_stage_two() -> None:
    schedule = TwoStage(2, 4, lambda_start=0.5, lambda_end=0.25)
    labelled = torch.tensor(2.0, requires_grad=True)
    unlabelled = torch.tensor(4.0, requires_grad=True)
    assert schedule.blend(labelled, unlabelled, 1).item() == 6.0
    assert schedule.blend(labelled, unlabelled, 2).item() == 3.0
    last = schedule.blend(labelled, unlabelled, 3)
    assert last.item() == 2.5
    last.backward()
    assert labelled.grad is not None
    assert unlabelled.grad is not None
    assert (labelled.grad.item(), unlabelled.grad.item()) == (0.75, 0.25)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"stage1": 6.0, "total": 8}, "stage1 must be a whole number of epochs, got 6.0"),
        ({"stage1": True, "total": 8}, "stage1 must be a whole number of epochs, got True"),
        ({"stage1": 6, "total": "8"}, "total must be a whole number of epochs, got '8'"),
        ({"stage1": 9, "total": 8}, "got stage1=9 and total=8; total counts both stages"),
        ({"stage1": -1, "total": 8}, "expected 0 <= stage1 <= total and total > 0, got stage1=-1"),
        ({"stage1": 0, "total": 0}, "total > 0, got stage1=0 and total=0"),
        ({"lambda_start": 1.5}, "lambda_start must be a number above 0 and at most 1, got 1.5"),
        ({"lambda_end": 0}, "lambda_end must be a number above 0 and at most 1, got 0"),
        ({"lambda_end": math.nan}, "lambda_end must be a number above 0 and at most 1, got nan"),
        ({"lambda_start": 0.1, "lambda_end": 0.2}, "lambda_end must not exceed lambda_start"),
    ],
)
def test_numbers_that_make_no_schedule(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        TwoStage(**({"stage1": 6, "total": 8} | arguments))
    assert message in str(caught.value)


@pytest.mark.parametrize("method", ["stage", "lam"])
def test_bad_epochs(method: str) -> None:
    call = getattr(TwoStage.voc(), method)
    for epoch in (-1, math.nan, math.inf):
        with pytest.raises(OptionError, match="epoch must be finite and at least 0, got"):
            call(epoch)
    for other, kind in ((torch.tensor(3), "Tensor"), ("3", "str"), (None, "NoneType")):
        with pytest.raises(InputTypeError, match=f"Python int or float, got {kind}; .* int\\("):
            call(other)


def test_an_epoch_that_was_begun_counts_for_what_follows() -> None:
    schedule = TwoStage(stage1=2, total=3)
    supervise = ConformalSupervision(nn.CrossEntropyLoss(), schedule=schedule)
    with pytest.raises(OptionError, match="a schedule needs the current epoch"):
        _ = supervise.stage
    logits, pseudo = torch.zeros(1, 3, 2, 2, requires_grad=True), torch.zeros(1, 2, 2).long()
    pseudo[0, 0] = 255
    for epoch in (0, 1):
        supervise.begin_epoch(epoch)
        assert supervise.stage == 1
        assert supervise(logits, pseudo) > 0
        assert supervise.summary()["valid_pixels"] == 4  # counted anew
    supervise.begin_epoch(2)
    assert supervise.stage == 2
    assert supervise(logits, pseudo) == 0
    assert ConformalSupervision(nn.CrossEntropyLoss()).stage == 1
    with pytest.raises(OptionError, match="epochs count from 0"):
        supervise.begin_epoch(-1)
