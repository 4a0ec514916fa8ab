"""The loss term and CutMix on volumes: as on images with as many pixels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from conformal_plugin import ConformalSupervision, cutmix
from conformal_plugin.errors import OptionError, ShapeError

LOGITS = torch.sin(torch.arange(2 * 3 * 4 * 5 * 6).float()).reshape(2, 3, 4, 5, 6)
PSEUDO = torch.arange(2 * 4 * 5 * 6).reshape(2, 4, 5, 6) % 5
PSEUDO[PSEUDO >= 3] = 255
VALID = torch.arange(2 * 4 * 5 * 6).reshape(2, 4, 5, 6) % 7 > 0


def term(logits: Tensor, pseudo: Tensor, valid: Tensor, criterion: nn.Module) -> Tensor:
    logits = logits.clone().requires_grad_()
    value = ConformalSupervision(criterion)(logits, pseudo, valid=valid)
    value.backward()
    assert logits.grad is not None
    return torch.cat([value.detach().reshape(1), logits.grad.flatten()])


class Scalar(nn.Module):
    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return F.cross_entropy(logits, target, ignore_index=255)


@pytest.mark.parametrize("criterion", [nn.CrossEntropyLoss(), Scalar()], ids=["pixels", "scalar"])
def test_the_term_of_a_volume(criterion: nn.Module) -> None:
    found = term(LOGITS, PSEUDO, VALID, criterion)
    as_images = (LOGITS.flatten(2, 3), PSEUDO.flatten(1, 2), VALID.flatten(1, 2))
    torch.testing.assert_close(found, term(*as_images, criterion))


def test_maps_of_volumes_are_filtered_in_the_step() -> None:
    maps = LOGITS.softmax(1)
    supervise = ConformalSupervision(nn.CrossEntropyLoss(), calibration=0.6)
    as_images = ConformalSupervision(nn.CrossEntropyLoss(), calibration=0.6)
    expected = as_images(LOGITS.flatten(2, 3), maps.flatten(2, 3))
    torch.testing.assert_close(supervise(LOGITS, maps), expected)
    assert supervise.summary() == as_images.summary()


def test_nothing_kept_of_a_volume() -> None:
    logits = LOGITS.clone().requires_grad_()
    value = ConformalSupervision(Scalar())(logits, torch.full_like(PSEUDO, 255))
    value.backward()
    assert value == 0
    assert logits.grad is not None
    assert not logits.grad.any()


def test_a_criterion_that_learns_from_dropped_voxels_is_refused() -> None:
    def dice(logits: Tensor, target: Tensor) -> Tensor:
        onehot = F.one_hot(target.clamp(max=2), 3).movedim(-1, 1)
        return 1 - (logits.softmax(1) * onehot).mean()

    with pytest.raises(OptionError, match="learns from dropped pixels"):
        ConformalSupervision(dice)(LOGITS, PSEUDO)


def test_batches_whose_first_axis_fits_a_volume() -> None:
    logits = torch.zeros(3, 3, 4, 5)
    maps = torch.rand(3, 3, 4, 5)
    maps /= maps.sum(0, keepdim=True)
    term = ConformalSupervision(nn.CrossEntropyLoss(), calibration=0.6)(logits, maps)
    assert term.isfinite()


def test_shapes() -> None:
    supervise = ConformalSupervision(nn.CrossEntropyLoss())
    with pytest.raises(ShapeError, match=r"pseudo must be label maps \(2, 4, 5, 6\)"):
        supervise(LOGITS, PSEUDO[0])
    with pytest.raises(ShapeError, match="valid must have shape"):
        supervise(LOGITS, PSEUDO, valid=VALID[:, 0])


def test_cutmix_of_volumes() -> None:
    box = torch.zeros(2, 4, 5, 6, dtype=torch.bool)
    box[:, 1:3, 2:4, 3:5] = True
    images, labels = (cutmix(values, values.flip(0), box) for values in (LOGITS, PSEUDO))
    assert torch.equal(images, torch.where(box[:, None], LOGITS.flip(0), LOGITS))
    assert torch.equal(labels, torch.where(box, PSEUDO.flip(0), PSEUDO))
    with pytest.raises(ShapeError, match="box must have shape"):
        cutmix(LOGITS, LOGITS, box[:, 0])
