"""Work on several threads, in order, for code whose inner loops release Python's lock."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

import torch

__all__ = ["in_parallel"]

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_parallel(
    work: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[tuple[Item, Callable[[], Result]]]:
    """Yield each item, in order, with a function that gives or raises what ``work`` made of it.

    As many threads as torch would use; few items are taken ahead, so that lazy ones stay lazy. The
    threads are of this call alone: a pool that outlives it would not survive a fork.
    """
    remaining = iter(items)
    first = list(islice(remaining, 2))
    workers = min(torch.get_num_threads(), os.cpu_count() or 1)
    if len(first) < 2 or workers < 2:
        for item in chain(first, remaining):
            yield item, lambda item=item: work(item)  # type: ignore[misc]
        return
    threads = torch.get_num_threads()
    try:
        # Each with one thread of torch's: more would wait for each other on the same cores.
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            waiting: deque[tuple[Item, Future[Result]]] = deque()
            for item in chain(first, remaining):
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > workers:
                    done, future = waiting.popleft()
                    yield done, future.result
            for done, future in waiting:
                yield done, future.result
    finally:
        torch.set_num_threads(threads)  # for threads that others start later
