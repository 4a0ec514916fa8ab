"""Time and peak memory of functions: interleaved repeats, and the process's own high-water mark."""

from __future__ import annotations

import ctypes
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["above_base", "interleaved", "peak_bytes"]

# One that takes longer is measured in fewer rounds.
_SLOW_SECONDS, _SLOW_ROUNDS = 0.5, 3


def interleaved(
    functions: Mapping[str, Callable[[], Any]], rounds: int
) -> dict[str, dict[str, float]]:
    """Call all functions in turn, ``rounds`` times, every other time in reverse order.

    Whatever else runs on the machine then slows all of them alike. The first round warms up and
    does not count.

    Returns:
        For each function the ``median`` and ``min`` seconds; ``cpu``, the median processor time of
        all threads; and ``ratio`` and ``cpu_ratio``, the medians over the rounds of its time
        divided by that of the first function in the same round.
    """
    wall: dict[str, list[float]] = {name: [] for name in functions}
    cpu: dict[str, list[float]] = {name: [] for name in functions}
    first: dict[str, float] = {}
    for number in range(rounds + 1):
        for name in list(functions)[:: -1 if number % 2 else 1]:
            if number > _SLOW_ROUNDS and first[name] > _SLOW_SECONDS:
                continue
            began, busy = time.perf_counter(), time.process_time()
            functions[name]()
            busy, took = time.process_time() - busy, time.perf_counter() - began
            if number == 0:
                first[name] = took
            else:
                wall[name].append(took)
                cpu[name].append(busy)
    floor = next(iter(functions))
    return {
        name: {
            "median": statistics.median(wall[name]),
            "min": min(wall[name]),
            "cpu": statistics.median(cpu[name]),
            "ratio": _paired(wall[name], wall[floor]),
            "cpu_ratio": _paired(cpu[name], cpu[floor]),
        }
        for name in functions
    }


def _paired(times: list[float], floors: list[float]) -> float:
    return statistics.median(mine / max(floor, 1e-9) for mine, floor in zip(times, floors))


def above_base(function: Callable[[], Any]) -> int:
    """The bytes by which this process grew at its largest while ``function`` ran (Linux)."""
    # What the allocator holds in reserve would be used without growing.
    ctypes.CDLL(None).malloc_trim(0)
    # Writing 5 sets the high-water mark back to what is resident now. A child's ru_maxrss would not
    # do: it begins with its parent's.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = peak_bytes()
    result = function()
    grown = peak_bytes() - before
    del result
    return grown


def peak_bytes() -> int:
    """The high-water mark of resident memory."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
