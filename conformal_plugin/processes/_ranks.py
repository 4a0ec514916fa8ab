"""Adding up the counts of several processes of one ``torch.distributed`` group.

Each rank in turn broadcasts what it has counted, and every rank merges these in the order of the
ranks. Counts are integers and merging is exact, so that all ranks end with the same total, bit for
bit that of one process, and come to the same error where merging is refused. Beside its own counts
a rank holds one total and one other rank's counts at a time, whatever the number of ranks.
"""

from __future__ import annotations

import copy
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

import numpy as np
import torch.distributed as dist

from conformal_plugin.errors import ConformalError, InputTypeError, OptionError

__all__ = ["Countable", "all_reduce", "check_total", "total_of_ranks"]

_SECONDS_BEFORE_A_WORD = 60.0
Array = np.ndarray[Any, Any]
_logger = logging.getLogger(__name__)


class Countable(Protocol):
    """What all calibrators and evaluators have in common."""

    _total_of_ranks: bool

    def merge(self, other: Any) -> Any:
        """Add the counts of another."""


_Counted = TypeVar("_Counted", bound=Countable)


def all_reduce(counted: _Counted, group: Any = None) -> _Counted:
    """Give every rank's ``counted`` the total of all ranks; returns it.

    Call it on all ranks of the group, once, after the last update. Where a rank was made with other
    options, counted scores of another dtype, or counted an image that another rank has counted too,
    all ranks raise the same error and keep their own counts.

    ``torch.utils.data.DistributedSampler`` pads its last batch with repeated images, which must not
    count twice. Calibrators find them by their ids, and refuse; without ids, and in an
    ``Evaluator``, which takes none, they are counted again and nothing tells. Share images out
    without padding: ``dataset[i] for i in range(rank, len(dataset), world_size)``.

    A rank that died ends the others with the error that its group raises; one that is alive and
    does not come makes them wait for the group's timeout, and after a minute say so in the log.

    Args:
        counted: a calibrator or an evaluator; one that has counted nothing is fine.
        group: a process group of any backend (gloo, NCCL); None for the default one. Without
            ``torch.distributed`` a single process keeps its counts as they are.

    Raises:
        OptionError: a rank's counts are a total of all ranks already, ranks were made with other
            options, two ranks have counted the same id, this process is not in the group, or there
            is no group although the environment is that of several processes.
        InputTypeError: ranks with calibrators of different kinds, or scores of different dtypes.
        ShapeError: ranks have counted different numbers of classes.
    """
    world = _world_size(group)
    if world == 1:
        return counted
    _agree(counted, group, world)
    total: Any = None
    for rank in range(world):
        mine = _packed(counted) if rank == dist.get_rank(group) else None
        part = _unpacked(type(counted), _from_rank(rank, mine, group))
        try:
            total = part if total is None else total.merge(part)
        except ConformalError as error:
            before = "rank 0" if rank == 1 else f"ranks 0 ... {rank - 1}"
            raise type(error)(f"{before} and rank {rank}: {error}") from error
    vars(counted).update(vars(total))
    counted._total_of_ranks = True
    return counted


def check_total(counted: Countable, alpha: float, group: Any) -> None:
    """Check on every rank that all hold the total of all ranks and ask for the same.

    Raises:
        OptionError: they do not, on all ranks.
    """
    world = _world_size(group)
    if world == 1:
        return
    facts: list[Any] = [None] * world
    dist.all_gather_object(facts, (counted._total_of_ranks, alpha), group=group)
    early = [rank for rank, (total, _) in enumerate(facts) if not total]
    if early:
        raise OptionError(
            f"the counts of rank {early[0]} are its own alone: call all_reduce on every rank first"
        )
    alphas = [alpha for _, alpha in facts]
    if len(set(alphas)) > 1:
        raise OptionError(f"all ranks must ask for the same alpha, got {alphas} by rank")


def total_of_ranks(read: Callable[[], dict[int, Array]], group: Any) -> dict[int, Array]:
    """Add up on every rank what each rank reads of its own; where one fails, all do.

    Args:
        read: gives integer arrays by number; the numbers and shapes are those of all ranks.
        group: as in :func:`all_reduce`.

    Raises:
        ConformalError: another rank failed, or what this one's ``read`` raised.
    """
    world = _world_size(group)
    if world == 1:
        return read()
    mine, problem = None, None
    try:
        mine = read()
    except Exception as error:
        problem = error
    problems: list[Any] = [None] * world
    dist.all_gather_object(problems, problem and str(problem), group=group)
    if problem is not None:
        raise problem
    for rank, text in enumerate(problems):
        if text is not None:
            raise ConformalError(f"rank {rank} failed in reading its images again: {text}")
    total: dict[int, Array] = {}
    for rank in range(world):
        for number, part in _from_rank(rank, mine, group).items():
            total[number] = total.get(number, 0) + part
    return total


def _from_rank(rank: int, mine: Any, group: Any) -> Any:
    """What a rank of the group has, on all of them."""
    parts = [mine if rank == dist.get_rank(group) else None]
    source = rank if group is None else dist.get_global_rank(group, rank)
    dist.broadcast_object_list(parts, src=source, group=group)
    return parts[0]


def _world_size(group: Any) -> int:
    if group is None and not (dist.is_available() and dist.is_initialized()):
        processes = os.environ.get("WORLD_SIZE", "1")
        if processes != "1":
            raise OptionError(
                f"the environment is that of {processes} processes (WORLD_SIZE), and they are in "
                f"no group; call torch.distributed.init_process_group before all_reduce"
            )
        return 1
    if dist.get_rank(group) < 0:
        raise OptionError(
            "this process is not in the group; call all_reduce on the ranks of the group alone"
        )
    return dist.get_world_size(group)


def _agree(counted: Countable, group: Any, world: int) -> None:
    """Refuse on all ranks what one rank would refuse, before any counts travel."""
    facts: list[Any] = [None] * world
    with _a_word_after(_SECONDS_BEFORE_A_WORD):
        dist.all_gather_object(
            facts, (type(counted).__name__, counted._total_of_ranks), group=group
        )
    kinds = sorted({kind for kind, _ in facts})
    if len(kinds) > 1:
        raise InputTypeError(
            f"all ranks must reduce the same kind, got {' and '.join(kinds)}; call all_reduce in "
            f"the same order on every rank"
        )
    again = [rank for rank, (_, total) in enumerate(facts) if total]
    if again:
        raise OptionError(
            f"the counts of rank {again[0]} are the total of all ranks already and would be added "
            f"up again; call all_reduce once, after the last update, or start a fresh {kinds[0]}"
        )


@contextmanager
def _a_word_after(seconds: float) -> Iterator[None]:
    """Say in the log that other ranks are being waited for."""
    timer = threading.Timer(
        seconds,
        _logger.warning,
        ("all_reduce has waited %g s for the other ranks; it goes on waiting", seconds),
    )
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _packed(counted: Any) -> Any:
    """Plain arrays where there is a state; an evaluator can travel as it is."""
    return counted.state() if hasattr(counted, "state") else counted


def _unpacked(kind: Any, part: Any) -> Any:
    return kind.from_state(part) if hasattr(kind, "from_state") else copy.deepcopy(part)
