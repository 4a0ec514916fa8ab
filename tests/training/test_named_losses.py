"""Losses by name: on the kept pixels alone, as plain torch and MONAI have them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from conformal_plugin import ConformalSupervision, TwoStage
from conformal_plugin.errors import LabelError, OptionError, ShapeError

N, CLASSES, HEIGHT, WIDTH = 2, 4, 9, 7
RANDOM = torch.Generator().manual_seed(0)
LOGITS = torch.randn(N, CLASSES, HEIGHT, WIDTH, generator=RANDOM, dtype=torch.float64)
PSEUDO = torch.randint(0, CLASSES, (N, HEIGHT, WIDTH), generator=RANDOM)
PSEUDO[torch.rand(PSEUDO.shape, generator=RANDOM) < 0.4] = 255
KEPT = PSEUDO != 255

NAMES = ("ce", "focal", "dice", "bce", "sigmoid-focal", "sigmoid-dice")
SUMS = ("ce+dice", "focal + dice", "ce+focal", "bce+sigmoid-dice", "ce+focal+dice", "dice+dice")


def dice(scores: Tensor, truth: Tensor) -> Tensor:
    """Of ``(K, kept)``."""
    overlap, both = (scores * truth).sum(1), (scores + truth).sum(1)
    return (1 - (2 * overlap + 1e-5) / (both + 1e-5)).mean()


def of_kept(name: str, logits: Tensor, labels: Tensor) -> Tensor:
    """The loss of kept pixels ``(kept, K)``, plainly."""
    if logits.shape[1] == 1:
        truth = labels[:, None].to(logits.dtype)
    else:
        truth = F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    if name == "ce":
        return F.cross_entropy(logits, labels)
    if name == "focal":
        p = (logits.softmax(1) * truth).sum(1)
        return (-((1 - p) ** 2) * p.log()).mean()
    if name == "dice":
        return dice(logits.softmax(1).T, truth.T)
    if name == "bce":
        return F.binary_cross_entropy_with_logits(logits, truth)
    if name == "sigmoid-focal":
        p = torch.where(truth == 1, logits.sigmoid(), 1 - logits.sigmoid())
        return (-((1 - p) ** 2) * p.log()).mean()
    return dice(logits.sigmoid().T, truth.T)


def expected(name: str, logits: Tensor = LOGITS, pseudo: Tensor = PSEUDO) -> Tensor:
    kept = pseudo != 255
    cut, labels = logits.movedim(1, -1)[kept], pseudo[kept]
    total = sum(of_kept(part.strip(), cut, labels) for part in name.split("+"))
    return torch.as_tensor(total * kept.double().mean())


@pytest.mark.parametrize("name", NAMES + SUMS)
def test_the_term_is_that_of_the_kept_pixels_cut_out(name: str) -> None:
    logits = LOGITS.clone().requires_grad_()
    term = ConformalSupervision(name)(logits, PSEUDO)
    torch.testing.assert_close(term, expected(name))
    term.backward()
    plain = LOGITS.clone().requires_grad_()
    expected(name, plain).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, plain.grad)
    assert not logits.grad.movedim(1, -1)[~KEPT].any()


@pytest.mark.parametrize("name", NAMES + SUMS)
def test_kept_denominator_and_padding(name: str) -> None:
    valid = torch.ones_like(KEPT)
    valid[:, :2] = False
    pseudo = torch.where(valid, PSEUDO, 255)
    term = ConformalSupervision(name, denominator="kept")(LOGITS, PSEUDO, valid=valid)
    share = (pseudo != 255).double().mean()
    torch.testing.assert_close(term, expected(name, pseudo=pseudo) / share)


@pytest.mark.parametrize("name", ["bce", "sigmoid-focal", "sigmoid-dice", "bce+sigmoid-dice"])
def test_a_head_of_one_channel_is_that_of_class_1(name: str) -> None:
    logits = LOGITS[:, :1]
    pseudo = torch.where(KEPT, PSEUDO % 2, 255)
    supervise = ConformalSupervision(name)
    torch.testing.assert_close(supervise(logits, pseudo), expected(name, logits, pseudo))
    assert len(supervise.summary()["kept_per_class"]) == 2
    with pytest.raises(LabelError, match="got 2 at"):
        supervise(logits, torch.where(KEPT, 2, 255))


def test_bce_of_one_channel_is_ce_of_two() -> None:
    logits, pseudo = LOGITS[:, :1], torch.where(KEPT, PSEUDO % 2, 255)
    two = torch.cat([torch.zeros_like(logits), logits], 1)
    of_one = ConformalSupervision("bce")(logits, pseudo)
    torch.testing.assert_close(of_one, ConformalSupervision("ce")(two, pseudo))


@pytest.mark.parametrize("name", ["bce", "sigmoid-dice"])
def test_a_head_without_background_goes_behind_a_channel_of_zeros(name: str) -> None:
    logits = LOGITS[:, 1:].clone().requires_grad_()
    all_classes = torch.cat([torch.zeros_like(logits[:, :1]), logits], 1)
    ConformalSupervision(name)(all_classes, PSEUDO).backward()
    plain = LOGITS[:, 1:].clone().requires_grad_()
    cut, labels = plain.movedim(1, -1)[KEPT], PSEUDO[KEPT]
    truth = F.one_hot(labels, CLASSES)[:, 1:].double()  # background: no class is there
    if name == "bce":
        of_objects = F.binary_cross_entropy_with_logits(cut, truth)
    else:
        of_objects = dice(cut.sigmoid().T, truth.T)
    (of_objects * (CLASSES - 1) / CLASSES * KEPT.double().mean()).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, plain.grad)


def test_a_head_of_one_channel_takes_score_maps_of_two_classes() -> None:
    logits = LOGITS[:, :1]
    foreground = torch.rand(N, 1, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(1))
    maps = torch.cat([1 - foreground, foreground], 1)
    supervise = ConformalSupervision("bce", calibration=0.4)
    labels = torch.where(foreground[:, 0] >= 0.6, 1, 255)
    labels = torch.where(foreground[:, 0] <= 0.4, 0, labels)
    torch.testing.assert_close(supervise(logits, maps), ConformalSupervision("bce")(logits, labels))
    with pytest.raises(ShapeError, match=r"class scores \(2, 2, 9, 7\)|shape \(2, 2, 9, 7\)"):
        supervise(logits, foreground)


def test_volumes() -> None:
    logits = torch.randn(2, 3, 4, 5, 6, dtype=torch.float64, generator=torch.Generator())
    pseudo = torch.arange(2 * 4 * 5 * 6).reshape(2, 4, 5, 6) % 4
    pseudo[pseudo == 3] = 255
    for name in NAMES:
        term = ConformalSupervision(name)(logits, pseudo)
        torch.testing.assert_close(term, expected(name, logits, pseudo))


@pytest.mark.parametrize("name", NAMES + SUMS)
def test_nothing_kept(name: str) -> None:
    logits = LOGITS.clone().requires_grad_()
    term = ConformalSupervision(name)(logits, torch.full_like(PSEUDO, 255))
    term.backward()
    assert term == 0
    assert logits.grad is not None
    assert not logits.grad.any()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    term = ConformalSupervision(name)(LOGITS.to(dtype), PSEUDO)
    assert term.dtype == torch.float32
    torch.testing.assert_close(term.double(), expected(name, LOGITS.to(dtype).double()))


def test_an_ignore_index_of_ones_own_and_stage_two() -> None:
    supervise = ConformalSupervision("ce+dice", ignore_index=-1, schedule=TwoStage(1, 2))
    term = supervise(LOGITS, torch.where(KEPT, PSEUDO, -1), epoch=0)
    torch.testing.assert_close(term, expected("ce+dice"))
    assert supervise(LOGITS, None, epoch=1) == 0
    assert "'ce+dice', ignore_index=-1" in repr(supervise)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("jaccard", "is one of ce, focal, dice, bce, sigmoid-focal, sigmoid-dice, or a sum"),
        ("", "or a sum such as 'ce+dice', got ''"),
        ("ce+", "or a sum such as"),
        ("ce+sigmoid-dice", "one head cannot be both"),
    ],
)
def test_names_that_are_none(name: str, message: str) -> None:
    with pytest.raises(OptionError, match=message.replace("+", r"\+")):
        ConformalSupervision(name)


def test_softmax_losses_need_two_channels() -> None:
    with pytest.raises(ShapeError, match=r"ConformalSupervision\('bce'\)"):
        ConformalSupervision("ce")(LOGITS[:, :1], torch.where(KEPT, PSEUDO % 2, 255))


class WantsChannel(nn.Module):
    """As MONAI's losses: a target with a channel axis, made one-hot."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        if target.ndim != logits.ndim:
            raise ValueError("the number of dimensions for input and target should be the same")
        return F.one_hot(target[:, 0], logits.shape[1]).sum() * logits.sum()


@pytest.mark.parametrize(
    "criterion",
    [
        WantsChannel(),
        lambda logits, target: WantsChannel()(logits, target.unsqueeze(1)),
        nn.BCEWithLogitsLoss(),
    ],
    ids=["channel", "one-hot", "bce"],
)
def test_a_criterion_that_cannot_be_called_so_is_explained(
    criterion: Callable[[Tensor, Tensor], Tensor],
) -> None:
    with pytest.raises(OptionError, match="take a loss by name: 'ce', 'dice'") as caught:
        ConformalSupervision(criterion)(LOGITS, PSEUDO)
    assert "target (2, 9, 7), int64, 255 where dropped" in str(caught.value)


def test_a_lack_of_memory_stays_what_it_is() -> None:
    def hungry(logits: Tensor, target: Tensor) -> Tensor:
        raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with pytest.raises(RuntimeError, match="Tried to allocate"):
        ConformalSupervision(hungry)(LOGITS, PSEUDO)


def test_what_fails_later_is_the_criterions_own() -> None:
    calls = []

    def once(logits: Tensor, target: Tensor) -> Tensor:
        calls.append(1)
        if len(calls) > 1:
            raise KeyError("step 2")
        return F.cross_entropy(logits, target, ignore_index=255, reduction="none")

    supervise = ConformalSupervision(once)
    supervise(LOGITS, PSEUDO)
    with pytest.raises(KeyError, match="step 2"):
        supervise(LOGITS, PSEUDO)


def test_monai_has_the_same_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # which MONAI sets, for all to come
    monai = pytest.importorskip("monai.losses", reason="MONAI is not installed")
    labels = torch.where(KEPT, PSEUDO, 0)
    target = labels.unsqueeze(1)
    for name, loss in (
        ("dice", monai.DiceLoss(softmax=True, to_onehot_y=True, batch=True)),
        ("sigmoid-dice", monai.DiceLoss(sigmoid=True, to_onehot_y=True, batch=True)),
        ("sigmoid-focal", monai.FocalLoss(to_onehot_y=True)),
        ("ce+dice", monai.DiceCELoss(softmax=True, to_onehot_y=True, batch=True)),
    ):
        found = ConformalSupervision(name)(LOGITS.float(), labels)
        torch.testing.assert_close(found, loss(LOGITS.float(), target), rtol=1e-5, atol=1e-7)
