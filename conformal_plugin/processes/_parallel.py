"""Work on several threads, in order, for code whose inner loops release Python's lock."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import chain, islice
from threading import Lock
from typing import TypeVar

import torch

__all__ = ["beside_others", "in_parallel"]

Item = TypeVar("Item")
Result = TypeVar("Result")

# Threads that wait for the next call already sit on cores of their own; new ones start on that of
# the thread that starts them, and are moved only after milliseconds.
_pools: dict[int, ThreadPoolExecutor] = {}
_making = Lock()
# Not seen by those threads, which do by themselves what calls this again.
_cores: ContextVar[int | None] = ContextVar("cores", default=None)


def in_parallel(
    work: Callable[[Item], Result],
    items: Iterable[Item],
    *,
    here: Callable[[Item], bool] = lambda item: False,
) -> Iterator[tuple[Item, Callable[[], Result]]]:
    """Yield each item, in order, with a function that gives or raises what ``work`` made of it.

    As many threads as torch would use; few items are taken ahead, so that lazy ones stay lazy. In
    these threads torch uses one, so that work which calls this again does it by itself.

    Args:
        work: what is done with an item.
        items: to be gone through once.
        here: whether items like the first two are for the calling thread. Those on a GPU are: its
            current stream is the thread's own, and another thread's would not wait for it.
    """
    remaining = iter(items)
    first = list(islice(remaining, 2))
    before = torch.get_num_threads()
    threads = _cores.get() or before
    # Asking the system for its cores takes microseconds, many for one small image.
    workers = min(threads, os.cpu_count() or 1) if len(first) > 1 else 1
    if workers < 2 or any(map(here, first)):
        for item in chain(first, remaining):
            yield item, lambda item=item: work(item)  # type: ignore[misc]
        return
    pool = _pool(workers)
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    try:
        for item in chain(first, remaining):
            waiting.append((item, pool.submit(work, item)))
            if len(waiting) > workers:
                done, future = waiting.popleft()
                yield done, future.result
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result
    finally:
        left = [future for _, future in waiting if not future.cancel()]
        wait(left)
        torch.set_num_threads(before)  # for threads that others start later


@contextmanager
def beside_others() -> Iterator[None]:
    """Let torch use one thread here, and :func:`in_parallel` as many as torch would use before.

    For what is done with a result while others are being worked out: the cores are taken, so that a
    second thread would wait for one, and the first for it, both busy.
    """
    before = torch.get_num_threads()
    cores = _cores.set(_cores.get() or before)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        _cores.reset(cores)


def _pool(workers: int) -> ThreadPoolExecutor:
    with _making:
        if workers not in _pools:
            _pools[workers] = ThreadPoolExecutor(
                workers, "conformal-plugin", initializer=_let_torch_use_one_thread
            )
        return _pools[workers]


def _let_torch_use_one_thread() -> None:
    """In this thread, for good.

    A thread's first question to torch gives it the number that was set last, in whatever thread: it
    is asked before that number is set here, and not when work is done.
    """
    torch.get_num_threads()
    torch.set_num_threads(1)


def _forget_pools() -> None:
    """Threads do not survive a fork; the lock may have been held by one of them."""
    global _making
    _making = Lock()
    _pools.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pools)
