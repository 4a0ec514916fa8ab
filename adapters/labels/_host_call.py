"""A call of a host's function that is given pictures, so that it can be made once more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from conformal_plugin._extras import optional

__all__ = ["HostCall", "is_picture"]

Image = optional("PIL.Image", "Pillow", "carrying pseudo-labels through a host's transforms")


@dataclass(frozen=True)
class HostCall:
    """A function of the host's and what it is called with."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    @property
    def name(self) -> str:
        """What messages call the function."""
        return str(getattr(self.function, "__name__", type(self.function).__name__))

    def make(self) -> Any:
        """What the function gives."""
        return self.function(*self.args, **self.kwargs)

    def slots(self) -> list[int | str]:
        """Where pictures stand among the arguments, in their order."""
        given: list[tuple[int | str, Any]] = [*enumerate(self.args), *self.kwargs.items()]
        return [slot for slot, value in given if is_picture(value)]

    def at(self, slot: int | str) -> Any:
        """The argument in one place."""
        return self.args[slot] if isinstance(slot, int) else self.kwargs[slot]

    def having(self, slot: int | str, value: Any) -> HostCall:
        """The same call with another value in one place."""
        if isinstance(slot, int):
            return replace(self, args=(*self.args[:slot], value, *self.args[slot + 1 :]))
        return replace(self, kwargs=self.kwargs | {slot: value})

    def like(self, other: HostCall) -> bool:
        """Whether it is the other one once more, whatever pictures each was given."""
        return self.function is other.function and self._plain() == other._plain()

    def _plain(self) -> tuple[Any, ...]:
        """The arguments that are no pictures, to be compared."""
        slots: Sequence[int | str] = self.slots()
        plain = tuple(repr(value) for at, value in enumerate(self.args) if at not in slots)
        named = ((key, repr(value)) for key, value in self.kwargs.items() if key not in slots)
        return (*plain, *sorted(named))


def is_picture(value: Any) -> bool:
    """Whether a value is a picture: Pillow's, or an array of two dimensions or more."""
    return isinstance(value, Image.Image) or (isinstance(value, np.ndarray) and value.ndim >= 2)
