"""Shares of a few classes are those of the softmax over all of them, without holding all."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import interpolate
from torch.utils._python_dispatch import TorchDispatchMode

from conformal_plugin.annotators import _class_shares as class_shares

MEMBERS = ((3,), (0, 5), (), (7, 1, 2))


class Largest(TorchDispatchMode):
    """Remembers how many values the largest tensor of a run has."""

    values = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor):
            self.values = max(self.values, made.numel())
        return made


@pytest.mark.parametrize("size", [(75, 100), (16, 16), (5, 3), (1, 1), (33, 1), (1, 40)])
@pytest.mark.parametrize("coarse", [(16, 16), (7, 12), (1, 1)])
@pytest.mark.parametrize("values", [1, 900, 2**20])
def test_they_are_those_of_the_resized_logits(coarse, size, values, monkeypatch):
    monkeypatch.setitem(class_shares._VALUES, "cpu", values)  # strips of one row, of some, of all
    logits = 20 * torch.randn(9, *coarse, generator=torch.Generator().manual_seed(1))
    every = interpolate(logits[None], size, mode="bilinear", align_corners=False)[0].softmax(0)
    expected = torch.stack([every[list(m)].sum(0) for m in MEMBERS])
    found = class_shares.class_shares(logits, MEMBERS, size)
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_all_classes_at_the_photos_size_are_never_there_together(monkeypatch):
    monkeypatch.setitem(class_shares._VALUES, "cpu", 2**14)
    logits = torch.randn(40, 8, 8)
    with Largest() as largest:
        class_shares.class_shares(logits, MEMBERS, (200, 300))
    assert largest.values == len(MEMBERS) * 200 * 300
    assert largest.values < 40 * 200 * 300 / 5
