"""Whether ``torch.compile`` is tracing the code that asks, under each PyTorch that is supported."""

from __future__ import annotations

import torch

__all__ = ["compiling"]

# torch 2.1 and 2.2 lack the public name; theirs is imported with the compiler, if at all. Looked
# for here, since the compilers of these do not understand the question.
_PUBLIC = getattr(torch.compiler, "is_compiling", None)


def compiling() -> bool:
    """Whether ``torch.compile`` is tracing this code."""
    return bool(_PUBLIC() if _PUBLIC is not None else torch._dynamo.is_compiling())
