"""Whether one picture shows another: each channel up to scale and offset, pixel for pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

__all__ = ["channels_first", "same", "shows", "size_of"]

# Normalising a photo is affine in each channel. A photo that was moved by one pixel, or flipped,
# is no affine function of itself.
_LEAST_FIT = 0.999


def size_of(picture: Any) -> tuple[int, int]:
    """Width and height."""
    if isinstance(picture, np.ndarray):
        return int(picture.shape[1]), int(picture.shape[0])
    width, height = picture.size
    return int(width), int(height)


def same(one: Any, other: Any) -> bool:
    """Whether two pictures are of one kind and hold the same."""
    return one is other or (
        type(one) is type(other) and np.array_equal(np.asarray(one), np.asarray(other))
    )


def shows(view: torch.Tensor, photo: Any) -> bool:
    """Whether a view ``(C, H, W)`` is the photo, each channel up to scale and offset.

    Its channels may be others of the photo's, in another order, or mixed, as in grey.
    """
    by_channel = channels_first(photo)
    if view.shape[1:] != by_channel.shape[1:]:
        return False
    photo_rows = _centred(by_channel.flatten(1))
    view_rows = _centred(view.flatten(1))
    if len(photo_rows) in (1, len(view_rows)) and _one_by_one(view_rows, photo_rows):
        return True
    return _mixed(view_rows, photo_rows)


def channels_first(photo: Any) -> torch.Tensor:
    """The pixels of a picture ``(C, H, W)``, float32."""
    pixels = np.asarray(photo)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32))


def _one_by_one(view: torch.Tensor, photo: torch.Tensor) -> bool:
    """Whether each row of a view is a multiple of the photo's, or of its only one."""
    both = torch.linalg.vecdot(photo, view).double() ** 2
    each = photo.square().sum(1).double() * view.square().sum(1).double()
    flat = (photo.abs().amax(1) < 1e-6) & (view.abs().amax(1) < 1e-6)
    return bool((flat | (both >= _LEAST_FIT * each) & (each > 0)).all())


def _mixed(view: torch.Tensor, photo: torch.Tensor) -> bool:
    """Whether each row of a view is a sum of multiples of the photo's rows, by least squares."""
    among = (photo @ photo.T).double()
    between = (view @ photo.T).double()
    told = (between @ torch.linalg.pinv(among, hermitian=True) * between).sum(1)
    whole = view.square().sum(1).double()
    return bool(((told >= _LEAST_FIT * whole) & (whole > 0)).all())


def _centred(rows: torch.Tensor) -> torch.Tensor:
    """Less their means, which single precision would not find exactly."""
    return rows.float() - rows.mean(1, keepdim=True, dtype=torch.float64).float()
