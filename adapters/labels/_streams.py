"""The global random streams that a host's transforms draw from: saved, put back, compared."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

__all__ = ["RandomStreams"]


@dataclass(frozen=True, eq=False)
class RandomStreams:
    """A moment in Python's, NumPy's and torch's (CPU) global random streams.

    The known hosts draw their geometry from ``random``; forks of them use the other two as well.
    """

    python: tuple[Any, ...]
    numpy: Any
    torch: torch.Tensor

    @classmethod
    def capture(cls) -> RandomStreams:
        """Save where the three streams stand now."""
        return cls(random.getstate(), np.random.get_state(), torch.get_rng_state())

    def restore(self) -> None:
        """Put the three streams back to this moment."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.torch)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, RandomStreams):
            return NotImplemented
        return (
            self.python == other.python
            and all(np.array_equal(a, b) for a, b in zip(self.numpy, other.numpy))
            and torch.equal(self.torch, other.torch)
        )

    __hash__ = None  # type: ignore[assignment]  # compared, never a key
