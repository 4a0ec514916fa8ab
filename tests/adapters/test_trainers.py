"""What the trainers' callbacks do at either end of an epoch; docs/recipes run them for real."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from conformal_plugin import ConformalSupervision, TwoStage
from conformal_plugin.adapters.trainers import lightning_callback, transformers_callback
from conformal_plugin.adapters.trainers._epoch import ClassShareWarning, Epochs
from conformal_plugin.errors import MissingExtraError


def supervision() -> ConformalSupervision:
    return ConformalSupervision(
        nn.CrossEntropyLoss(ignore_index=255), schedule=TwoStage(stage1=2, total=3)
    )


def step(supervise: ConformalSupervision, *of_each: int) -> None:
    """One batch of 32 pixels, so many of each class and the rest dropped."""
    flat = torch.full((32,), 255)
    flat[: sum(of_each)] = torch.arange(len(of_each)).repeat_interleave(torch.tensor(of_each))
    supervise(torch.zeros(2, 3, 4, 4, requires_grad=True), flat.reshape(2, 4, 4))


def test_an_epoch_has_its_line_and_its_figures() -> None:
    supervise = supervision()
    epochs = Epochs(supervise, [2, 1, 1])
    for epoch in range(2):
        epochs.begin(epoch)
        step(supervise, 8, 4, 4)
        line, figures = epochs.end(epoch)
        assert line.startswith(f"epoch {epoch}, stage I, 50.0% of the unlabelled pixels carried")
        assert figures["conformal/stage"] == 1
        assert figures["conformal/kept"] == 0.5
        assert figures["conformal/labels/1"] == 0.25
        assert figures["conformal/labelled/0"] == 0.5
    epochs.begin(2)
    step(supervise, 8, 4, 4)
    assert epochs.end(2) == ("epoch 2, stage II", {"conformal/stage": 2})


def test_a_class_that_swallows_the_labels_is_warned_of_once() -> None:
    supervise = supervision()
    epochs = Epochs(supervise, [2, 1, 1])
    epochs.begin(0)
    step(supervise, 15, 1, 0)
    with pytest.warns(ClassShareWarning, match="class 0 swallows the labels: it has 93.8% of them"):
        epochs.end(0)
    epochs.begin(1)
    step(supervise, 15, 1, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        epochs.end(1)


@pytest.mark.parametrize(
    ("library", "make"),
    [
        ("lightning", lightning_callback),
        ("transformers", lambda supervise: transformers_callback(None, supervise)),
    ],
)
def test_without_the_library_it_is_said_how_to_get_it(
    library: str, make: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (library, f"{library}.pytorch"):
        monkeypatch.setitem(sys.modules, name, None)
    supervise = supervision()
    with pytest.raises(MissingExtraError, match=rf'pip install "conformal-plugin\[{library}\]"'):
        make(supervise)
