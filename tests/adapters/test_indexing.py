"""A torch function mode sees reading and writing at an index, whatever the PyTorch."""

from __future__ import annotations

import pytest
import torch
from torch.overrides import TorchFunctionMode

from conformal_plugin.adapters.loop import _indexing


class Watch(TorchFunctionMode):
    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.seen.append(func.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("needs_help", [True, False])
def test_each_is_seen_once_and_nothing_is_left(monkeypatch, needs_help):
    if needs_help:
        monkeypatch.setattr(_indexing, "_is_seen", lambda: False)
    own = {name: vars(torch.Tensor).get(name) for name in _indexing._METHODS}
    one, value, mask = torch.zeros(3), torch.ones(()), torch.tensor([True, False, True])
    with _indexing.seen_indexing():
        one[0] = 3.0  # no mode is entered
        with Watch() as watch:
            assert one[0] == 3
            one[mask] = value
    assert [name for name in watch.seen if "item" in name] == ["__getitem__", "__setitem__"]
    assert one.tolist() == [1, 0, 1]
    assert own == {name: vars(torch.Tensor).get(name) for name in _indexing._METHODS}
