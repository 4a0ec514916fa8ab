"""This process's share of the images, from what ``torchrun`` puts into the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from conformal_plugin.errors import OptionError

__all__ = ["Rank"]

T = TypeVar("T")


@dataclass(frozen=True)
class Rank:
    """One of ``world`` processes that share the work.

    Attributes:
        number: 0 ... world - 1.
        world: number of processes.
        local: number among the processes of its machine, which chooses its GPU.

    Example:
        >>> Rank(1, 3).share(["a", "b", "c", "d", "e"])
        ['b', 'e']
    """

    number: int = 0
    world: int = 1
    local: int = 0

    @classmethod
    def of(cls, environment: Mapping[str, str] = os.environ) -> Rank:
        """From ``RANK``, ``WORLD_SIZE`` and ``LOCAL_RANK``; alone where they are not set.

        Raises:
            OptionError: they are no ranks.
        """
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
        texts = [environment.get(name, default) for name, default in zip(names, "010")]
        try:
            number, world, local = map(int, texts)
        except ValueError:
            number, world, local = -1, 0, -1
        if not (0 <= number < world and local >= 0):
            shown = ", ".join(f"{name}={text}" for name, text in zip(names, texts))
            raise OptionError(
                f"the environment has {shown}; start several processes with torchrun, or unset them"
            )
        return cls(number, world, local)

    def share(self, items: Sequence[T]) -> list[T]:
        """Every ``world``-th item, beginning with the one of this rank's number."""
        return list(items[self.number :: self.world])
