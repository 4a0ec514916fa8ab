"""A model compiled by ``torch.compile``, where this machine can."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from conformal_plugin.errors import OptionError

__all__ = ["compiled"]


def compiled(model: nn.Module, device: torch.device) -> Any:
    """The model, which is compiled when it is called first, and again for other shapes.

    Raises:
        OptionError: nothing can be compiled for the device here, for want of a C++ compiler or of
            Triton, for instance.
    """
    try:
        torch.compile(_something)(torch.ones(2, device=device))
    except Exception as error:  # of whatever compiler; its own message would come photo by photo
        first = (str(error).strip().splitlines() or [""])[0]
        raise OptionError(
            f"the annotator was to be compiled for {device}, which torch {torch.__version__} "
            f"cannot here ({type(error).__name__}: {first}); install a C++ compiler, or Triton for "
            f"a GPU, or leave --compile out"
        ) from error
    return torch.compile(model)


def _something(values: torch.Tensor) -> torch.Tensor:
    return 2 * values + 1
