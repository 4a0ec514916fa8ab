"""Order statistics and counts of numbers that lie in several arrays, without sorting them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.processes import in_parallel
from conformal_plugin.scores import as_tensor, in_cpu_memory
from conformal_plugin.scores.compiled import loops_for

__all__ = ["select"]

# One number of so many is looked at first. A prime, so that it meets all columns of an image.
_SAMPLED = 61


def select(arrays: Sequence[Any], index: int, start: Callable[[int], int]) -> tuple[int, list[int]]:
    """An order statistic, and how many numbers of each array are at least its bin's first.

    Args:
        arrays: integers ``(n_i,)``, none negative: tensors on one device, or NumPy arrays and
            tensors in CPU memory.
        index: of the wanted number, had all been sorted, counted from 0; below the sum of the n_i.
        start: the first number of the bin that a number lies in; grows with it.
    """
    alike = len({getattr(array, "dtype", None) for array in arrays}) == 1
    if alike and all(isinstance(array, np.ndarray) for array in arrays):
        loops = loops_for("splitting", sum(len(array) for array in arrays))
        found = None if loops is None else _select_near(loops, arrays, index, start)
        if found is not None:
            return found
    number = _order_statistic(arrays, index)
    return number, _counts_from(arrays, start(number))


def _select_near(
    loops: ModuleType, arrays: Sequence[Any], index: int, start: Callable[[int], int]
) -> tuple[int, list[int]] | None:
    """The same by looking where a sample has it; None where it is not there."""
    sample = np.concatenate([array[::_SAMPLED] for array in arrays])
    total = sum(len(array) for array in arrays)
    near = index / total * len(sample)
    margin = 2 + 3 * math.sqrt(len(sample))
    ends = [int(np.clip(near + side, 0, len(sample) - 1)) for side in (-margin, margin)]
    sample.partition(ends)
    low, high = start(int(sample[ends[0]])), int(sample[ends[1]])
    parts = [
        result() for _, result in in_parallel(lambda array: loops.split(array, low, high), arrays)
    ]
    above = [part[1] for part in parts]
    inside = np.concatenate([part[0] for part in parts])
    place = index - (total - sum(above) - len(inside))
    if not 0 <= place < len(inside):
        return None
    inside.partition(place)
    number = int(inside[place])
    least = start(number)
    return number, [some + int(np.count_nonzero(part >= least)) for part, some in parts]


def _order_statistic(arrays: Sequence[Any], index: int) -> int:
    tensors = [as_tensor(array) for array in arrays]
    if not all(map(in_cpu_memory, tensors)):
        # On a GPU kthvalue takes many times as long as a sort (pytorch issue 75599).
        return int(torch.cat(tensors).sort().values[index])
    # NumPy's: torch's threads would wait for each other on a busy machine.
    numbers = np.concatenate([tensor.numpy() for tensor in tensors])
    numbers.partition(index)  # several times faster than torch's kthvalue
    return int(numbers[index])


def _counts_from(arrays: Sequence[Any], least: int) -> list[int]:
    tensors = [array for array in arrays if isinstance(array, Tensor)]
    if len(tensors) == len(arrays):
        counts = torch.stack([(tensor >= least).sum() for tensor in tensors])
        found: list[int] = counts.tolist()  # waits once for the device
        return found
    return [int(np.count_nonzero(as_numpy >= least)) for as_numpy in map(np.asarray, arrays)]
