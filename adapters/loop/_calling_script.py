"""What a host's script has at hand where it calls us: its writers, and its own text."""

from __future__ import annotations

import linecache
from collections.abc import Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

__all__ = ["CallingScript"]


@dataclass(frozen=True)
class CallingScript:
    """A place in a script. It holds no frame, which would keep all of the script's tensors.

    Attributes:
        file: the name of its file.
        source: the text of that; empty where it cannot be read.
        line: the number of the line, from 1.
        name: what the script calls the object that was called; empty where it has no name.
        writers: TensorBoard's writers that the script has bound, or whatever is like them.
    """

    file: str
    source: str
    line: int
    name: str
    writers: tuple[Any, ...]

    @classmethod
    def of(cls, frame: FrameType, called: object) -> CallingScript:
        """The place where a frame stands, or the first behind it that is not of this package.

        Args:
            frame: of whatever called.
            called: the object that was called.
        """
        while frame.f_back is not None and _is_ours(frame):
            frame = frame.f_back
        bound: Mapping[str, Any] = {**frame.f_globals, **frame.f_locals}
        writers = {id(value): value for value in bound.values() if _writes_scalars(value)}
        return cls(
            frame.f_code.co_filename,
            "".join(linecache.getlines(frame.f_code.co_filename, frame.f_globals)),
            frame.f_lineno,
            next((name for name, value in bound.items() if value is called), ""),
            tuple(writers.values()),
        )


def _is_ours(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).split(".")[0] == "conformal_plugin"


def _writes_scalars(value: Any) -> bool:
    return not isinstance(value, type) and callable(getattr(type(value), "add_scalar", None))
