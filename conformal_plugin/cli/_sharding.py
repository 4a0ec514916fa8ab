"""Sharing a command's images out over the processes of ``torchrun``, which meet at its steps."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch.distributed as dist

from conformal_plugin._messages import shortened
from conformal_plugin.cli._report import warn
from conformal_plugin.errors import ConformalError, OptionError
from conformal_plugin.processes import Rank

__all__ = ["Ranks", "met", "sharing"]

T = TypeVar("T")

# One rank may have much left to do when another, resumed, has done its share. A rank that dies ends
# the others at once.
_PATIENCE = timedelta(days=7)
_TO_MEET = timedelta(minutes=10)
"""For all ranks to start, before any of them works: a network of machines takes a minute."""
_SECONDS_BEFORE_A_WORD = 10.0
_SECONDS_FOR_THREADS = 0.2


class Ranks:
    """The processes that share the work; one alone where ``torchrun`` did not start several.

    Args:
        rank: this one.
    """

    def __init__(self, rank: Rank) -> None:
        self.number = rank.number
        self.world = rank.world
        self._rank = rank

    def share(self, items: Sequence[T]) -> list[T]:
        """This rank's items; every item is one rank's."""
        return self._rank.share(items)

    def together(self, work: Callable[[], T]) -> T:
        """Do a step on every rank; where one fails, all end.

        Raises:
            ConformalError, OSError: as ``work``, or the message of the rank where it failed.
        """
        if self.world == 1:
            return work()
        try:
            result, problem = work(), None
        except (ConformalError, OSError) as error:
            self.gather(str(error))
            raise
        problems = self.gather(problem)
        failed = [number for number, text in enumerate(problems) if text is not None]
        if failed:
            raise ConformalError(f"rank {failed[0]} ended this run: {problems[failed[0]]}")
        return result

    def first(self, work: Callable[[], None]) -> None:
        """Do a step on rank 0 alone, while the others wait."""
        self.together(work if self.number == 0 else lambda: None)

    def gather(self, value: T) -> list[T]:
        """The values of all ranks, in their order."""
        if self.world == 1:
            return [value]
        values: list[Any] = [None] * self.world
        dist.all_gather_object(values, value)
        return values


def met() -> Rank:
    """This process among those of ``torchrun``, once all of them are there.

    For work whose ranks need no word of each other from then on. A rank that took its share alone
    would leave the others' photos undone and end well, where ``RANK`` and ``WORLD_SIZE`` are left
    over from another program. No process group remains: a model may begin its own.

    Raises:
        OptionError: as :func:`sharing`.
    """
    rank = Rank.of()
    if rank.world > 1:
        with _waiting(rank):
            store, number, world = _store_of_all()
            store.set(f"gone/{number}", "")
            if number == 0:  # which may hold the store that the others still ask
                store.wait([f"gone/{other}" for other in range(world)], _TO_MEET)
    return rank


@contextmanager
def sharing() -> Iterator[Ranks]:
    """The ranks of ``torchrun``, or of a process group that is there already.

    Raises:
        OptionError: ``RANK`` and ``WORLD_SIZE`` are set and the rest of what ``torchrun`` sets is
            not, or the other ranks do not come.
    """
    rank = Rank.of()
    begin = rank.world > 1 and not dist.is_initialized()
    if begin:
        _meet(rank)
    try:
        yield Ranks(rank)
    except RuntimeError as error:
        if rank.world > 1 and _is_of_another_rank(error):
            raise ConformalError(
                f"another rank has ended, so that rank {rank.number} cannot go on; see its "
                f"message, and run the same command again"
            ) from error
        raise
    finally:
        if begin:
            # gloo's threads drop the tensors of the last step, for which they need the interpreter;
            # torch 2.1 keeps it to itself while it waits for their end.
            time.sleep(_SECONDS_FOR_THREADS)
            dist.destroy_process_group()


def _meet(rank: Rank) -> None:
    """Begin a process group; the ranks may be minutes apart at the start, and days after that."""
    with _waiting(rank):
        # Before the group, in which torch 2.1 waits for the others as long as for a step.
        store, number, world = _store_of_all()
        dist.init_process_group(
            "gloo", store=store, rank=number, world_size=world, timeout=_PATIENCE
        )


def _store_of_all() -> tuple[Any, int, int]:
    """The store at which all ranks have come, this one's number and how many they are."""
    # Not there where torch was built without ranks, and needed by them alone.
    from torch.distributed.rendezvous import rendezvous

    store, number, world = next(rendezvous("env://", timeout=_TO_MEET))
    store.set(f"here/{number}", "")
    store.wait([f"here/{other}" for other in range(world)], _TO_MEET)
    return store, number, world


@contextmanager
def _waiting(rank: Rank) -> Iterator[None]:
    """Say what is waited for, and why it did not come.

    Raises:
        OptionError: as :func:`sharing`.
    """
    try:
        with _a_word_of_waiting(rank):
            yield
    except ValueError as error:
        raise OptionError(
            f"the environment is that of {rank.world} processes, which cannot meet ({error}); "
            f"start them with torchrun, or unset RANK and WORLD_SIZE"
        ) from error
    except RuntimeError as error:
        raise OptionError(
            f"this is rank {rank.number} of {rank.world}, by RANK and WORLD_SIZE in the "
            f"environment, and the others did not come ({shortened(error)}); start all of them "
            f"with torchrun, or unset both"
        ) from error


@contextmanager
def _a_word_of_waiting(rank: Rank) -> Iterator[None]:
    """Say what a rank waits for, which may never come."""
    text = (
        f"this is rank {rank.number} of {rank.world}, by RANK and WORLD_SIZE in the environment, "
        f"and it waits for the others; if there are none, unset both"
    )
    timer = threading.Timer(_SECONDS_BEFORE_A_WORD, warn, (text,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _is_of_another_rank(error: RuntimeError) -> bool:
    """Whether a connection broke; gloo says so in words alone, torch 2.1 has no class."""
    return isinstance(error, getattr(dist, "DistError", ())) or "gloo" in str(error)
