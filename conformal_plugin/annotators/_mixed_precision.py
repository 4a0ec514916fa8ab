"""The mixed precision that a device has in this torch."""

from __future__ import annotations

import warnings

import torch
from torch.nn.functional import interpolate, layer_norm

from conformal_plugin.errors import OptionError

__all__ = ["mixed_precision"]


def mixed_precision(amp: str | None, device: torch.device) -> torch.dtype | None:
    """The type that ``amp`` names, None for none.

    Raises:
        OptionError: this torch has no autocast of that type on the device, as torch 2.1 has no
            float16 on a CPU, or not all that networks do, as torch 2.2 there.
    """
    if amp is None:
        return None
    dtype: torch.dtype = getattr(torch, amp)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # torch warns and goes on without it
            with torch.autocast(device.type, dtype):
                values = torch.zeros(1, 1, 4, 4, dtype=dtype, device=device)
                layer_norm(values, (4,))
                interpolate(values, size=(3, 3), mode="bilinear", align_corners=False)
                return dtype
    except (RuntimeError, UserWarning) as error:
        raise OptionError(
            f"the annotator was to run in {amp} on {device}, which torch {torch.__version__} "
            f"cannot ({error}); use bfloat16, or none (--amp off)"
        ) from error
