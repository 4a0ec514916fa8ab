"""What the core asks of a device: its operations, and the bytes that these read and write.

The same on any device, so that it is known without a GPU. Operations that one kernel does together
are not told apart from others, and what stays in a cache counts too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from material import ALPHA, QHAT, Size, made
from report import Report
from setting import Setting, device_path
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from conformal_plugin import calibrate, evaluate, filter, prediction_sets

__all__ = ["run"]

_SIDE = 128


def run(setting: Setting, report: Report) -> None:
    for classes in (21, 150):
        # Halves are converted on a CPU and not on a GPU.
        maps, labels = made(Size(1, classes, _SIDE, _SIDE), torch.float32, setting.device)
        functions: dict[str, Callable[[], Any]] = {
            "filter": lambda m=maps: filter(m, QHAT),
            "prediction_sets": lambda m=maps: prediction_sets(m, QHAT),
            "calibrate": lambda m=maps, y=labels: calibrate(m, y, ALPHA),
            "evaluate": lambda m=maps, y=labels: evaluate(m, y, QHAT),
        }
        for name, function in functions.items():
            with device_path(setting), _Traffic() as traffic:
                function()
            passes = traffic.moved / maps.nbytes
            report.counted(
                f"{name}, float32, {classes} classes",
                f"{passes:.2f} times the maps' bytes, {traffic.operations} operations an image",
            )


class _Traffic(TorchDispatchMode):
    """Counts operations and the bytes of what goes into them and comes out; views move nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.moved = self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func.is_view or func is torch.ops.aten._local_scalar_dense.default:
            return result
        inputs = list(_tensors(args))
        if func is torch.ops.aten.gather.default:  # reads of the maps what it picks
            inputs[0] = result
        self.operations += 1
        self.moved += sum(tensor.nbytes for tensor in (*inputs, *_tensors(result)))
        return result


def _tensors(values: Any) -> Iterator[Tensor]:
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from _tensors(value)
