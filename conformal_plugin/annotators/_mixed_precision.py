"""The mixed precision that a device has in this torch."""

from __future__ import annotations

import warnings

import torch

from conformal_plugin.errors import OptionError

__all__ = ["mixed_precision"]


def mixed_precision(amp: str | None, device: torch.device) -> torch.dtype | None:
    """The type that ``amp`` names, None for none.

    Raises:
        OptionError: this torch has no autocast of that type on the device, as torch before 2.4 has
            no float16 on a CPU.
    """
    if amp is None:
        return None
    dtype: torch.dtype = getattr(torch, amp)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # torch warns and goes on without it
            with torch.autocast(device.type, dtype):
                return dtype
    except (RuntimeError, UserWarning) as error:
        raise OptionError(
            f"the annotator was to run in {amp} on {device}, which torch {torch.__version__} "
            f"cannot ({error}); use bfloat16, or none (--amp off)"
        ) from error
