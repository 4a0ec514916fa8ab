"""Python's warnings as a command says them: one line, without the code that spoke."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from conformal_plugin._messages import shortened

__all__ = ["shown_in_style"]

_OURS = Path(__file__).resolve().parents[1]


@contextmanager
def shown_in_style() -> Iterator[None]:
    """Within, what would be printed with a line of code becomes a ``warning:`` as others are.

    Of other packages the kind and the place stay, for those who are to mend it.
    """
    with warnings.catch_warnings():
        warnings.showwarning = _show
        yield


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    from conformal_plugin.cli._report import warn  # imports NumPy, for which no help shall wait

    text = str(message)
    if _OURS not in Path(filename).resolve().parents:
        text = f"{shortened(text)} ({category.__name__}, {filename}:{lineno})"
    warn(text)
