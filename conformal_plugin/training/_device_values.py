"""Whether a tensor's values can be looked at without waiting for a device or breaking a graph."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["compiling", "readable"]


def readable(tensor: Tensor) -> bool:
    """True on the CPU outside ``torch.compile``; False where reading a value costs or fails."""
    return tensor.device.type == "cpu" and not compiling()


def compiling() -> bool:
    """Whether ``torch.compile`` is tracing this code."""
    # torch 2.1 and 2.2 may lack the public name; theirs is imported with the compiler, if at all.
    public = getattr(torch.compiler, "is_compiling", None)
    return bool(public() if public is not None else torch._dynamo.is_compiling())
