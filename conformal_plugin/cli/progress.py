"""Progress bars on stderr, where somebody is there to see them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from conformal_plugin.files.extras import optional

__all__ = ["progress"]

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
