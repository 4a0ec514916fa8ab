"""Lets a torch function mode see ``tensor[index]``, which those of torch 2.1 and 2.2 do not."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode, handle_torch_function

__all__ = ["seen_indexing"]

_METHODS = ("__getitem__", "__setitem__")


@contextmanager
def seen_indexing() -> Iterator[None]:
    """While this lasts, modes are called where a tensor is read or written at an index.

    As at torch's other calls; newer releases do so by themselves.
    """
    if _is_seen() or set(_METHODS) & set(vars(Tensor)):
        yield
        return
    for name in _METHODS:
        setattr(Tensor, name, _announced(getattr(Tensor, name)))
    try:
        yield
    finally:
        for name in _METHODS:
            delattr(Tensor, name)


def _announced(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def indexed(tensor: Tensor, *rest: Any) -> Any:
        if torch._C._is_torch_function_mode_enabled():  # of this thread
            return handle_torch_function(original, (tensor,), tensor, *rest)
        return original(tensor, *rest)

    return indexed


@functools.cache
def _is_seen() -> bool:
    seen: list[str] = []

    class Watch(TorchFunctionMode):
        def __torch_function__(
            self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
        ) -> Any:
            seen.append(func.__name__)
            return func(*args, **(kwargs or {}))

    one, value = torch.zeros(1), torch.ones(())
    with Watch():
        one[0]
        one[0] = value
    return seen == list(_METHODS)
