"""Models in float64, where what is left of rounding is too small to be taken for anything else.

In float32 networks with random weights make up to 1e-2 of it, by the processor's instructions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def in_double(model: nn.Module) -> nn.Module:
    """The model with weights in float64, to whose parts every input is brought."""
    for module in model.double().modules():
        module.register_forward_pre_hook(_brought, with_kwargs=True)
    return model


def _brought(module: nn.Module, args: Any, kwargs: Any) -> Any:
    del module
    return _double(args), {name: _double(value) for name, value in kwargs.items()}


def _double(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.double() if value.is_floating_point() else value
    if type(value) in (list, tuple):  # outputs of transformers are dictionaries of their own kinds
        return type(value)(map(_double, value))
    return value
