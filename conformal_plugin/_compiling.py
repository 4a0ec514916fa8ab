"""Whether ``torch.compile`` is tracing the code that asks, under each PyTorch that is supported."""

from __future__ import annotations

import torch

__all__ = ["compiling"]


def compiling() -> bool:
    """Whether ``torch.compile`` is tracing this code."""
    # torch 2.1 and 2.2 may lack the public name; theirs is imported with the compiler, if at all.
    public = getattr(torch.compiler, "is_compiling", None)
    return bool(public() if public is not None else torch._dynamo.is_compiling())
