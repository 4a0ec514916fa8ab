"""Sequences whose items are read from disk one at a time, as often as they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, Generic, TypeVar, overload

import numpy as np
from torch import Tensor

__all__ = ["LazySequence"]

T = TypeVar("T")
U = TypeVar("U")


class LazySequence(Sequence[T], Generic[T]):
    """The results of ``read`` over ``sources``: nothing is read before it is asked for, or kept.

    Iterating reads one item ahead in a thread, so that decompressing the next file overlaps with
    work on this one. Each ``iter()`` starts afresh, which is what lets
    :func:`conformal_plugin.calibrate` read its data twice and be exact for float32.

    Args:
        read: makes an item from its source; an exception it raises surfaces at that item.
        sources: one small value per item, such as a path.

    Example:
        >>> squares = LazySequence(lambda n: n * n, [1, 2, 3])
        >>> list(squares), list(squares[1:]), squares[-1], len(squares)
        ([1, 4, 9], [4, 9], 9, 3)
    """

    def __init__(self, read: Callable[[Any], T], sources: Sequence[Any]) -> None:
        self._read = read
        self._sources = sources

    def __len__(self) -> int:
        return len(self._sources)

    @overload
    def __getitem__(self, index: int) -> T: ...

    @overload
    def __getitem__(self, index: slice) -> LazySequence[T]: ...

    def __getitem__(self, index: int | slice) -> T | LazySequence[T]:
        if isinstance(index, slice):
            return LazySequence(self._read, self._sources[index])
        return self._read(self._sources[index])

    def take(self, indices: Sequence[int]) -> LazySequence[T]:
        """The items at ``indices``, in that order, still unread."""
        return LazySequence(self._read, [self._sources[index] for index in indices])

    def then(self, work: Callable[[T], U]) -> LazySequence[U]:
        """What ``work`` makes of each item, in the thread that reads it."""
        read = self._read
        return LazySequence(lambda source: work(read(source)), self._sources)

    def kept(self, max_bytes: int) -> LazySequence[T]:
        """The same items; arrays stay in memory once read, as long as they fit.

        For what is read several times over and takes longer to decompress than to use.

        Args:
            max_bytes: the most that is kept. What is read when this is full is read each time, so
                that going through all of it again still finds the first ones kept.
        """
        return LazySequence(_Kept(self._read, max_bytes), self._sources)

    def __iter__(self) -> Iterator[T]:
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as reader:
            ahead: Future[T] | None = None
            for source in self._sources:
                ready, ahead = ahead, reader.submit(self._read, source)
                if ready is not None:
                    yield ready.result()
            if ahead is not None:
                yield ahead.result()

    def __repr__(self) -> str:
        return f"LazySequence({len(self)} items)"


class _Kept(Generic[T]):
    """Reads as ``read`` does, and holds what was read first."""

    def __init__(self, read: Callable[[Any], T], max_bytes: int) -> None:
        self._read = read
        self._left = max_bytes
        self._held: dict[Any, T] = {}
        self._holding = Lock()

    def __call__(self, source: Any) -> T:
        if source in self._held:
            return self._held[source]
        item = self._read(source)
        if isinstance(item, (np.ndarray, Tensor)):
            with self._holding:
                if item.nbytes <= self._left and source not in self._held:
                    self._left -= item.nbytes
                    self._held[source] = item
        return item
