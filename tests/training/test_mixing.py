"""cutmix: labels and images mixed by the same boxes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, strategies as st

from conformal_plugin import cutmix
from conformal_plugin.errors import DeviceMismatchError, InputTypeError, OptionError, ShapeError


@given(n=st.integers(1, 3), h=st.integers(1, 6), w=st.integers(1, 6), seed=st.integers(0, 2**16))
def test_every_pixel_keeps_its_own_label(n: int, h: int, w: int, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 256, (n, h, w), generator=draw, dtype=torch.uint8)
    images = torch.stack([labels.float(), -labels.float()], dim=1)
    box = torch.randint(0, 2, (n, h, w), generator=draw)
    order = torch.randperm(n, generator=draw)
    mixed_labels = cutmix(labels, labels[order], box)
    mixed_images = cutmix(images, images[order], box.bool())
    assert mixed_labels.dtype == torch.uint8
    assert torch.equal(mixed_images[:, 0], mixed_labels.float())
    assert torch.equal(mixed_images[:, 1], -mixed_labels.float())
    inside = box == 1
    assert torch.equal(mixed_labels[inside], labels[order][inside])
    assert torch.equal(mixed_labels[~inside], labels[~inside])


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32])
def test_box_of_any_number_dtype(dtype: torch.dtype) -> None:
    a = torch.zeros(1, 2, 2)
    box = torch.eye(2).unsqueeze(0)
    assert torch.equal(cutmix(a, a + 1, box.to(dtype)), box)


def test_inputs_stay_as_they_are_and_gradients_go_to_the_visible_part() -> None:
    a = torch.zeros(1, 1, 1, 2, requires_grad=True)
    b = torch.ones(1, 1, 1, 2, requires_grad=True)
    cutmix(a, b, torch.tensor([[[True, False]]])).sum().backward()
    assert a.tolist() == [[[[0.0, 0.0]]]]
    assert a.grad is not None
    assert b.grad is not None
    assert a.grad.flatten().tolist() == [0.0, 1.0]
    assert b.grad.flatten().tolist() == [1.0, 0.0]


LABELS = torch.zeros(2, 3, 4, dtype=torch.int64)
BOX = torch.zeros(2, 3, 4, dtype=torch.bool)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((LABELS.numpy(), LABELS, BOX), InputTypeError, "a must be a torch tensor, got ndarray"),
        ((LABELS, None, BOX), InputTypeError, "partner must be a torch tensor, got NoneType"),
        ((LABELS, LABELS, [0]), InputTypeError, "box must be a torch tensor, got list"),
        ((LABELS, LABELS.byte(), BOX), InputTypeError, "dtype of a, torch.int64, got torch.uint8"),
        ((LABELS[0], LABELS[0], BOX[0]), ShapeError, "(N, C, D, H, W), got shape (3, 4)"),
        ((LABELS, LABELS[:1], BOX), ShapeError, "shape of a, (2, 3, 4), got (1, 3, 4)"),
        ((LABELS, LABELS, BOX[:, None]), ShapeError, "shape (2, 3, 4) to go with a of shape"),
        ((LABELS, LABELS, BOX.long() + 7), OptionError, "got values from 7 to 7"),
        (
            (LABELS, LABELS, BOX.to("meta")),
            DeviceMismatchError,
            "a is on cpu and box on meta; move one of them with .to(device)",
        ),
    ],
)
def test_bad_input(arguments: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        cutmix(*arguments)
    assert message in str(caught.value)
