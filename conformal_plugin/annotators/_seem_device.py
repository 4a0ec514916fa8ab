"""Where SEEM runs: on the GPU that its bare ``.cuda()`` means, or on the CPU in its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from conformal_plugin.annotators._mixed_precision import mixed_precision
from conformal_plugin.errors import OptionError

__all__ = ["calls_for_cuda_mean", "check_mixed_precision", "place_of"]


def place_of(device: str) -> torch.device:
    """The device with its index, made torch's current one if it is a GPU.

    Raises:
        OptionError: a GPU is asked for and there is none.
    """
    place = torch.device(device)
    if place.type != "cuda":
        return place
    if not torch.cuda.is_available():
        raise OptionError(
            f"SEEM was to run on {device}, and torch finds no CUDA GPU here; run it where there is "
            f"one, or on the CPU with device='cpu' (--device cpu), which is slow"
        )
    index = torch.cuda.current_device() if place.index is None else place.index
    place = torch.device("cuda", index)
    torch.cuda.set_device(place)  # SEEM calls .cuda() without saying which
    return place


@contextmanager
def calls_for_cuda_mean(place: torch.device) -> Iterator[None]:
    """On a CPU, answer what SEEM asks of CUDA while it is built and while it reads prompts.

    It calls ``.cuda()`` on its tokens and ``torch.cuda.current_device()`` for a kernel; what it
    does with a photo asks for no device.
    """
    if place.type == "cuda":
        yield
        return

    def cuda(tensor: Tensor) -> Tensor:
        return tensor.to(place)

    with (
        mock.patch.object(Tensor, "cuda", cuda),
        mock.patch.object(torch.cuda, "current_device", return_value=place),
    ):
        yield


def check_mixed_precision(amp: str | None, place: torch.device) -> None:
    """Refuse a mixed precision in which SEEM's resizing of its masks is not to be had.

    Raises:
        OptionError: before a photo is looked at.
    """
    dtype = mixed_precision(amp, place)
    if dtype is None:
        return
    masks = torch.zeros(1, 1, 4, 4, dtype=dtype, device=place)
    try:
        with torch.autocast(place.type, dtype):
            interpolate(masks, size=(3, 3), mode="bicubic", align_corners=False, antialias=True)
    except RuntimeError as error:
        raise OptionError(
            f"SEEM cannot run in {amp} on {place}: torch {torch.__version__} has no resizing of "
            f"masks for it ({error}); use float16 on a GPU, or none (--amp off)"
        ) from error
