"""The log of kept pixels: counts, resets, warnings."""

from __future__ import annotations

import json
import warnings
from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st
from torch import nn

from conformal_plugin import ConformalSupervision
from conformal_plugin.errors import ShapeError
from conformal_plugin.training import KeptShareWarning


def new() -> ConformalSupervision:
    return ConformalSupervision(nn.CrossEntropyLoss())


@given(seed=st.integers(0, 2**16), k=st.integers(2, 300), steps=st.integers(1, 3))
def test_counts_are_those_of_bincount(seed: int, k: int, steps: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    supervise = ConformalSupervision(nn.CrossEntropyLoss(), ignore_index=-1)
    counts, n_valid = torch.zeros(k, dtype=torch.int64), 0
    for _ in range(steps):
        logits = torch.randn(2, k, 4, 5, generator=draw)
        pseudo = torch.randint(-1, k, (2, 4, 5), generator=draw)
        valid = torch.rand(2, 4, 5, generator=draw) < 0.7
        supervise(logits, pseudo, valid=valid)
        counts += torch.bincount(pseudo[valid & (pseudo >= 0)], minlength=k)
        n_valid += int(valid.sum())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KeptShareWarning)
        summary = supervise.summary()
    kept = int(counts.sum())
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
    assert summary.pop("loss") >= 0
    assert summary == {
        "kept": kept / n_valid if n_valid else None,
        "kept_per_class": [c / n_valid if n_valid else None for c in counts.tolist()],
        "kept_pixels": kept,
        "kept_pixels_per_class": counts.tolist(),
        "valid_pixels": n_valid,
    }


def test_before_the_first_step_there_is_nothing() -> None:
    supervise = new()
    supervise.reset()
    assert supervise.summary()["kept"] is None


def test_reset_starts_anew(batch: Any) -> None:
    supervise = new()
    supervise(batch.logits, batch.pseudo)
    first = supervise.summary()
    supervise.reset()
    supervise(batch.logits, batch.pseudo)
    assert supervise.summary() == first


def test_nothing_kept_warns_of_likely_causes(batch: Any) -> None:
    supervise = new()
    supervise(batch.logits, torch.full_like(batch.pseudo, 255))
    with pytest.warns(KeptShareWarning, match="kept 0.00% of 144 valid .* too strict") as caught:
        assert supervise.summary()["kept"] == 0
    assert caught[0].filename == __file__


def test_everything_kept_warns_of_likely_causes(batch: Any) -> None:
    supervise = new()
    supervise(batch.logits, batch.pseudo.clamp(max=4))
    with pytest.warns(KeptShareWarning, match="kept 100.00% of 144 valid .* raw labels") as caught:
        assert supervise.summary()["kept"] == 1
    assert "is normal for foreground-first at a small alpha" in str(caught[0].message)


def test_each_warning_is_given_once_and_not_every_epoch(batch: Any) -> None:
    everything, nothing = batch.pseudo.clamp(max=4), torch.full_like(batch.pseudo, 255)

    def warned(supervise: ConformalSupervision, pseudo: torch.Tensor) -> list[str]:
        supervise.reset()
        supervise(batch.logits, pseudo)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            supervise.summary()
        return [str(warning.message) for warning in caught]

    supervise = new()
    assert len(warned(supervise, everything)) == 1
    assert not warned(supervise, everything)
    (message,) = warned(supervise, nothing)  # another trouble, which the first must not hide
    assert message.startswith("kept 0.00%")
    assert not warned(supervise, nothing)
    assert not warned(supervise, everything)
    assert len(warned(new(), everything)) == 1


def test_nothing_but_padding_does_not_warn(batch: Any) -> None:
    supervise = new()
    supervise(batch.logits, batch.pseudo, valid=torch.zeros_like(batch.valid))
    assert supervise.summary()["kept"] is None


def test_counts_survive_inference_mode_and_a_change_of_device(batch: Any) -> None:
    supervise = new()
    with torch.inference_mode():
        supervise(batch.logits, batch.pseudo)
    supervise(batch.logits, batch.pseudo)
    assert supervise.summary()["valid_pixels"] == 2 * batch.pseudo.numel()
    supervise(batch.logits.to("meta"), batch.pseudo.to("meta"))


def test_logits_of_another_class_list_are_refused(batch: Any) -> None:
    supervise = new()
    supervise(batch.logits, batch.pseudo)
    with pytest.raises(ShapeError, match="have 6 classes and earlier ones had 5; use one"):
        supervise(torch.zeros(2, 6, 8, 9), batch.pseudo)
