"""Checkpoints: a resumed run goes on in the right stage."""

from __future__ import annotations

import copy
import io
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from conformal_plugin import ConformalSupervision, TwoStage
from conformal_plugin.errors import OptionError
from conformal_plugin.training import ScheduleChangedWarning

SCHEDULE = TwoStage(3, 6)


def new(schedule: TwoStage | None = SCHEDULE) -> ConformalSupervision:
    return ConformalSupervision(nn.CrossEntropyLoss(), schedule=schedule)


def saved_and_read(state: Any) -> Any:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.parametrize(("epoch", "zero"), [(2, False), (3, True), (2.5, False)])
def test_a_resumed_run_goes_on_in_its_stage(batch: Any, epoch: float, zero: bool) -> None:
    before = new()
    before(batch.logits, batch.pseudo, epoch=epoch)
    after = new()
    after.load_state_dict(saved_and_read(before.state_dict()))
    assert (after(batch.logits, batch.pseudo).item() == 0) == zero
    after(batch.logits, batch.pseudo, epoch=0)
    assert after(batch.logits, batch.pseudo).item() > 0


def test_as_a_part_of_the_users_model(batch: Any) -> None:
    class Student(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Conv2d(5, 5, 1)
            self.supervise = new()

    before, after = Student(), Student()
    before.supervise(before.head(batch.logits), batch.pseudo, epoch=4)
    state = before.state_dict()
    assert "supervise._extra_state" in state
    after.load_state_dict(saved_and_read(state))
    assert after.supervise(after.head(batch.logits), batch.pseudo).item() == 0


def test_the_state_is_a_tensor_that_any_format_holds(tmp_path: Path, batch: Any) -> None:
    before = new()
    before(batch.logits, batch.pseudo, epoch=5)
    save_file(before.state_dict(), tmp_path / "model.safetensors")
    after = new()
    after.load_state_dict(load_file(tmp_path / "model.safetensors"))
    assert after(batch.logits, batch.pseudo).item() == 0


def test_class_weights_travel_and_counts_do_not(batch: Any) -> None:
    weight = torch.arange(5.0)
    supervise = ConformalSupervision(nn.CrossEntropyLoss(weight=weight))
    supervise(batch.logits, batch.pseudo)
    assert set(supervise.state_dict()) == {"criterion.weight", "_extra_state"}


def test_a_copied_module_is_independent(batch: Any) -> None:
    one = new()
    one(batch.logits, batch.pseudo, epoch=0)
    two = copy.deepcopy(one)
    two(batch.logits, batch.pseudo)
    assert two.summary()["valid_pixels"] == 2 * one.summary()["valid_pixels"]


def test_another_schedule_warns_with_both() -> None:
    before, after = new(), new(TwoStage(5, 6))
    with pytest.warns(ScheduleChangedWarning) as caught:
        after.load_state_dict(before.state_dict())
    message = str(caught[0].message)
    assert "was written with TwoStage(3, 6, lambda_start=0.5, lambda_end=0.05)" in message
    assert "this run has TwoStage(5, 6, lambda_start=0.5, lambda_end=0.05), which is" in message
    with pytest.warns(ScheduleChangedWarning, match="this run has no schedule, which is used"):
        new(None).load_state_dict(before.state_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        new(None).load_state_dict(new(None).state_dict())


def test_a_schedule_without_any_epoch_is_an_error(batch: Any) -> None:
    supervise = new()
    supervise.load_state_dict(new().state_dict())
    with pytest.raises(OptionError, match=r"needs the current epoch: .*pass supervise\("):
        supervise(batch.logits, batch.pseudo)


def test_an_epoch_without_a_schedule_is_only_remembered(batch: Any) -> None:
    supervise = new(None)
    assert supervise(batch.logits, batch.pseudo, epoch=1000).item() > 0
    assert supervise.state_dict()["_extra_state"][0] == 1000
