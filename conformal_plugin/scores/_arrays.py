"""Arrays of any library in as torch tensors, results back out in the kind that came in."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from conformal_plugin.errors import InputTypeError

__all__ = ["as_tensor", "back_to_kind", "in_cpu_memory", "is_array", "to_tensor"]

# Set by tests and benchmarks alone: has maps on a CPU take the way of those on any other device.
all_elsewhere = False


def is_array(value: object) -> bool:
    """Whether ``value`` is one array (NumPy, torch, or anything that speaks DLPack)."""
    return isinstance(value, (np.ndarray, Tensor)) or hasattr(value, "__dlpack__")


def in_cpu_memory(tensor: Tensor) -> bool:
    """Whether NumPy can work on it in place; elsewhere torch's own operations do it all."""
    return tensor.device.type == "cpu" and not all_elsewhere


def to_tensor(array: Any, name: str) -> Tensor:
    """View ``array`` as a torch tensor on its own device, without a copy where that is possible.

    A copy is made of NumPy arrays that torch cannot address: negative strides or a foreign byte
    order. ``bfloat16`` of the ``ml_dtypes`` package is understood.

    Raises:
        InputTypeError: ``array`` is no array, or of a dtype that torch cannot hold (``uint16``
            before torch 2.3).
    """
    if isinstance(array, Tensor):
        return array.detach()
    if isinstance(array, np.ndarray):
        return _from_numpy(array, name)
    if hasattr(array, "__dlpack__"):
        return from_dlpack(array)
    raise InputTypeError(
        f"{name} must be a NumPy array, a torch tensor or an array that speaks DLPack, got "
        f"{type(array).__name__}; convert it with numpy.asarray first"
    )


def as_tensor(integers: Any) -> Tensor:
    """NumPy's integers as torch's, without a copy; a tensor as it is.

    Unsigned ones must leave the sign bit clear: before 2.3 torch has none of several bytes.
    """
    if isinstance(integers, Tensor):
        return integers
    size = integers.itemsize
    return torch.from_numpy(integers if size == 1 else integers.view(f"i{size}"))


def _from_numpy(array: np.ndarray[Any, Any], name: str) -> Tensor:
    if array.dtype.name == "bfloat16":  # of ml_dtypes; NumPy has none of its own
        return _from_numpy(array.view(np.int16), name).view(torch.bfloat16)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 for stride in array.strides):
        array = np.ascontiguousarray(array)
    if array.dtype == np.uint16 and not hasattr(torch, "uint16"):
        raise InputTypeError(
            f"{name} of dtype uint16 need torch 2.3 or newer, this is {torch.__version__}; upgrade "
            f"it, or convert scores with (array / 65535).astype(numpy.float32) and labels to int64"
        )
    try:
        with warnings.catch_warnings():
            # Memory-mapped arrays are read-only, and nothing here writes to its input.
            warnings.filterwarnings("ignore", message=".*not writable.*")
            return torch.from_numpy(array)
    except TypeError as error:
        raise InputTypeError(
            f"{name} has NumPy dtype {array.dtype}, which torch cannot hold; convert it with "
            f"astype, scores to numpy.float32 and labels to numpy.int64"
        ) from error


def back_to_kind(array: Any) -> Callable[[Tensor], Any]:
    """How to turn a result tensor into the kind of array that ``array`` is."""
    if isinstance(array, Tensor):
        return _same
    if isinstance(array, np.ndarray):
        return _to_numpy
    namespace = _namespace(array)

    def convert(tensor: Tensor) -> Any:
        lent = tensor.contiguous()
        try:
            return namespace.from_dlpack(lent)
        except RuntimeError:  # torch 2.1 lends everything but bool
            if tensor.dtype != torch.bool:
                raise
            return namespace.astype(namespace.from_dlpack(lent.view(torch.uint8)), namespace.bool)

    return convert


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _to_numpy(tensor: Tensor) -> np.ndarray[Any, Any]:
    result: np.ndarray[Any, Any] = tensor.numpy()
    return result


def _namespace(array: Any) -> Any:
    """The array library of ``array``: by the array API standard, else by its module's name."""
    if hasattr(array, "__array_namespace__"):
        return array.__array_namespace__()
    return importlib.import_module(type(array).__module__.split(".")[0])
