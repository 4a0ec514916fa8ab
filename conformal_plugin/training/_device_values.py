"""Whether a tensor's values can be looked at without waiting for a device or breaking a graph."""

from __future__ import annotations

from torch import Tensor

from conformal_plugin._compiling import compiling

__all__ = ["readable"]


def readable(tensor: Tensor) -> bool:
    """True on the CPU outside ``torch.compile``; False where reading a value costs or fails."""
    return tensor.device.type == "cpu" and not compiling()
