"""On which device the sections run, at which sizes, and until when."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from conformal_plugin.scores import _arrays

__all__ = ["NO_CUDA", "Deadline", "Setting", "device_path"]

NO_CUDA = "no CUDA device"


@dataclass(frozen=True)
class Setting:
    """What all sections are told.

    Attributes:
        device: name of torch's device.
        small: whether sizes should be such that all is done in seconds.
        seconds: a section's time; what it has not begun by then it leaves out.
    """

    device: str
    small: bool
    seconds: float = 0.0

    @property
    def cuda(self) -> bool:
        """Whether this is a CUDA device."""
        return torch.device(self.device).type == "cuda"


@contextmanager
def device_path(setting: Setting) -> Iterator[None]:
    """Go the way of maps on a GPU, on a CPU too, where another way is taken otherwise."""
    before = _arrays.all_elsewhere
    _arrays.all_elsewhere = not setting.cuda
    try:
        yield
    finally:
        _arrays.all_elsewhere = before


class Deadline:
    """Whether there is time left.

    Args:
        seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self._ends = time.monotonic() + seconds

    def passed(self) -> bool:
        """Whether they are over."""
        return time.monotonic() >= self._ends
