"""Progress bars on stderr, where somebody is there to see them."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable, Iterator
from typing import Generic, TypeVar

from conformal_plugin._extras import optional

__all__ = ["Readings", "progress"]

T = TypeVar("T")


def progress(
    items: Iterable[T], title: str, *, total: int, done: int = 0, quiet: bool = False
) -> Iterator[T]:
    """Yield ``items``, drawing a bar unless ``quiet`` or stderr is not a terminal.

    Args:
        items: what to go through.
        title: text before the bar.
        total: number of items with those done before.
        done: number of items that an earlier run has done.
        quiet: draw nothing.
    """
    if quiet or not sys.stderr.isatty():
        yield from items
        return
    tqdm = optional("tqdm", "tqdm", "a progress bar (without one: --quiet)").tqdm
    yield from tqdm(items, desc=title, total=total, initial=done, unit="image", file=sys.stderr)


class Readings(Generic[T]):
    """Items with a progress bar for every time that they are read.

    Args:
        items: what is read.
        command: name of the command, before each bar with the number of the reading.
        quiet: draw nothing.
    """

    def __init__(self, items: Collection[T], command: str, *, quiet: bool) -> None:
        self._items = items
        self._command = command
        self._quiet = quiet
        self._readings = 0

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[T]:
        self._readings += 1
        title = f"{self._command}, reading {self._readings}"
        return progress(self._items, title, total=len(self._items), quiet=self._quiet)
