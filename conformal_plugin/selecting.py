"""Order statistics and counts of numbers that lie in several arrays, without sorting them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.arrays import as_tensor
from conformal_plugin.parallel import in_parallel

__all__ = ["counts_from", "order_statistic"]


def order_statistic(arrays: Sequence[Any], index: int) -> int:
    """The number that sorting all of them would put at ``index``, counted from 0.

    Args:
        arrays: integers ``(n_i,)``, none negative: tensors on one device, or NumPy arrays and
            tensors in CPU memory.
        index: below the sum of the n_i.
    """
    values = torch.cat([as_tensor(array) for array in arrays])
    if values.device.type != "cpu":
        return int(values.kthvalue(index + 1).values)
    numbers = values.numpy()
    numbers.partition(index)  # several times faster than torch's kthvalue
    return int(numbers[index])


def counts_from(arrays: Sequence[Any], least: int) -> list[int]:
    """How many numbers of each array are at least ``least``."""

    def count(array: Any) -> int:
        from_least = array >= least
        if isinstance(from_least, Tensor):
            return int(from_least.sum())
        return int(np.count_nonzero(from_least))

    return [result() for _, result in in_parallel(count, arrays)]
