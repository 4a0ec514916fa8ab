"""The time of functions on a device, called in turn."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from setting import Deadline, Setting

__all__ = ["medians"]


def medians(
    functions: Mapping[str, Callable[[], Any]], setting: Setting, rounds: int, seconds: float
) -> dict[str, float]:
    """Each function's median milliseconds, from the call until the device has done all of it.

    All are called in turn, every other time in reverse order, for ``rounds`` or for as many as fit
    the seconds, at least two. Two rounds before them warm up and do not count.
    """
    deadline = Deadline(seconds)
    took: dict[str, list[float]] = {name: [] for name in functions}
    for number in range(-2, rounds):
        if number >= 2 and deadline.passed():
            break
        for name in list(functions)[:: -1 if number % 2 else 1]:
            spent = _milliseconds(functions[name], setting)
            if number >= 0:
                took[name].append(spent)
    return {name: statistics.median(times) for name, times in took.items()}


def _milliseconds(function: Callable[[], Any], setting: Setting) -> float:
    if not setting.cuda:
        began = time.perf_counter()
        function()
        return 1e3 * (time.perf_counter() - began)
    torch.cuda.synchronize(setting.device)
    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    function()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end)
