"""Criteria that learn from dropped pixels, or return a sum, are found out in the first step."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conformal_plugin import ConformalSupervision
from conformal_plugin.errors import OptionError
from conformal_plugin.training import _device_values

CLASSES = 4


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, CLASSES, 16, 16, generator=generator)
    pseudo = torch.randint(0, CLASSES, (2, 16, 16), generator=generator)
    pseudo[torch.rand(pseudo.shape, generator=generator) < 0.4] = 255
    return logits, pseudo


def soft_dice(logits: Tensor, target: Tensor, *, skip: bool) -> Tensor:
    """Dice of probabilities, one class a channel, as segmentation codes write it."""
    probs = logits.softmax(1)
    truth = torch.stack([target == c for c in range(logits.shape[1])], 1).float()
    if skip:
        probs = probs * (target != 255)[:, None]
    both, squares = (probs * truth).sum((0, 2, 3)), (probs**2).sum((0, 2, 3))
    return (1 - (2 * both + 1e-5) / (squares + truth.sum((0, 2, 3)) + 1e-5)).mean()


def ohem(logits: Tensor, target: Tensor) -> Tensor:
    """The mean over the harder half of the pixels that are not skipped."""
    losses = F.cross_entropy(logits, target, ignore_index=255, reduction="none")
    losses = losses[target != 255]
    return losses.sort(descending=True).values[: (len(losses) + 1) // 2].mean()


def mean_over_kept(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, ignore_index=255)


def mean_over_all(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, ignore_index=255, reduction="none").mean()


def summed(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, ignore_index=255, reduction="sum")


def noisy(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(F.dropout(logits, 0.3), target, ignore_index=255)


def test_random_numbers_of_a_criterion_are_no_dropped_pixels(batch: tuple[Tensor, Tensor]) -> None:
    assert ConformalSupervision(noisy)(*batch).isfinite()


@pytest.mark.parametrize("criterion", [functools.partial(soft_dice, skip=True), ohem])
@pytest.mark.parametrize("denominator", ["valid", "kept"])
def test_criteria_that_skip_are_taken(
    criterion: Callable[..., Tensor], denominator: str, batch: tuple[Tensor, Tensor]
) -> None:
    logits, pseudo = batch
    term = ConformalSupervision(criterion, denominator=denominator)(logits, pseudo)
    share = (pseudo != 255).float().mean() if denominator == "valid" else 1
    torch.testing.assert_close(term, criterion(logits, pseudo) * share)


@pytest.mark.parametrize(
    ("criterion", "message"),
    [
        (functools.partial(soft_dice, skip=False), "learns from dropped pixels: .* labelled 255"),
        (mean_over_all, "mean counts dropped pixels"),
        (summed, "returns a sum"),
    ],
)
def test_criteria_that_do_not_are_refused(
    criterion: Callable[..., Tensor], message: str, batch: tuple[Tensor, Tensor]
) -> None:
    with pytest.raises(OptionError, match=message):
        ConformalSupervision(criterion)(*batch)


class Focal(nn.Module):
    """Divides by pixels where it is told to skip a label, else by values, as MONAI's does."""

    def __init__(self, ignore_index: int | None = None, reduction: str = "mean") -> None:
        super().__init__()
        self.ignore_index, self.reduction = ignore_index, reduction

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        skipped = CLASSES + 1 if self.ignore_index is None else self.ignore_index
        kept = target != skipped
        truth = F.one_hot(torch.where(kept, target, 0)[:, 0], logits.shape[1]).movedim(-1, 1)
        losses = F.binary_cross_entropy_with_logits(logits, truth.float(), reduction="none") * kept
        if self.reduction == "none":
            return losses
        return losses.mean() if self.ignore_index is None else losses.sum() / kept.sum()


def behind_a_channel(loss: nn.Module) -> Callable[[Tensor, Tensor], Tensor]:
    return lambda logits, target: loss(logits, target.unsqueeze(1))


def test_a_scale_that_comes_with_the_ignore_index_is_refused(batch: tuple[Tensor, Tensor]) -> None:
    logits, pseudo = batch
    with pytest.raises(
        OptionError, match=r"loss is 4 times as large with ignore_index=255"
    ) as told:
        ConformalSupervision(behind_a_channel(Focal(255)))(*batch)
    assert "lambda logits, target: loss(logits, target.unsqueeze(1)).mean(1)" in str(told.value)
    loss = Focal(255, "none")
    supervise = ConformalSupervision(
        lambda logits, target: loss(logits, target.unsqueeze(1)).mean(1)
    )
    kept = pseudo != 255
    cut = logits.movedim(1, 0)[:, kept][None, :, :, None]
    expected = Focal()(cut, pseudo[kept][None, None, :, None]) * kept.float().mean()
    torch.testing.assert_close(supervise(logits, pseudo), expected)


def test_monais_focal_loss(batch: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # which MONAI sets, for all to come
    losses = pytest.importorskip("monai.losses", reason="MONAI is not installed")
    try:
        loss = losses.FocalLoss(to_onehot_y=True, ignore_index=255)
    except TypeError:
        pytest.skip("this MONAI has losses without an ignore index")
    with pytest.raises(OptionError, match="times as large with ignore_index=255"):
        ConformalSupervision(behind_a_channel(loss))(*batch)


def test_where_nothing_is_read_back_the_summary_refuses(
    batch: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, where a step must not wait."""
    module = "conformal_plugin.training._supervision"
    monkeypatch.setattr(f"{module}.readable", lambda tensor: False)
    supervise = ConformalSupervision(functools.partial(soft_dice, skip=False))
    supervise(*batch)
    supervise(*batch)
    with pytest.raises(OptionError, match="learns from dropped pixels"):
        supervise.summary()
    assert supervise.summary()["kept_pixels"] > 0


def test_a_traced_step_tries_nothing(
    batch: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = "conformal_plugin.training._supervision"
    monkeypatch.setattr(f"{module}.compiling", lambda: True)
    monkeypatch.setattr(_device_values, "compiling", lambda: True)
    supervise = ConformalSupervision(functools.partial(soft_dice, skip=False))
    assert supervise(*batch).isfinite()
    monkeypatch.undo()
    with pytest.raises(OptionError, match="learns from dropped pixels"):
        supervise(*batch)


class Counting(nn.Module):
    """A criterion that remembers its calls and draws random numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        self.calls += 1
        self.seen += 1
        return F.cross_entropy(F.dropout(logits, 1e-9), target, ignore_index=255)


def test_a_copy_is_tried_once_and_random_numbers_go_on(batch: tuple[Tensor, Tensor]) -> None:
    criterion = Counting()
    supervise = ConformalSupervision(criterion)
    torch.manual_seed(3)
    for _ in range(3):
        supervise(*batch)
    after = torch.rand(1)
    torch.manual_seed(3)
    for _ in range(3):
        F.dropout(batch[0], 1e-9)
    assert torch.equal(after, torch.rand(1))
    assert criterion.calls == 3
    assert criterion.seen == 3


def test_a_criterion_that_asks_for_more_of_a_batch_is_left_alone(
    batch: tuple[Tensor, Tensor],
) -> None:
    def picky(logits: Tensor, target: Tensor) -> Tensor:
        assert logits.shape[-1] == 16
        return mean_over_kept(logits, target)

    assert ConformalSupervision(picky)(*batch).isfinite()


def test_a_value_in_a_channel_of_its_own(batch: tuple[Tensor, Tensor]) -> None:
    class Soft(nn.Module):
        reduction, ignore_index = "mean", 255

        def forward(self, logits: Tensor, target: Tensor) -> Tensor:
            losses = F.cross_entropy(logits, target, ignore_index=255, reduction="none")[:, None]
            return losses if self.reduction == "none" else losses.mean()

    expected = ConformalSupervision(nn.CrossEntropyLoss(ignore_index=255))(*batch)
    torch.testing.assert_close(ConformalSupervision(Soft())(*batch), expected)


@pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
def test_the_reduction_of_a_partial(reduction: str, batch: tuple[Tensor, Tensor]) -> None:
    criterion = functools.partial(F.cross_entropy, ignore_index=255, reduction=reduction)
    expected = ConformalSupervision(nn.CrossEntropyLoss(ignore_index=255))(*batch)
    torch.testing.assert_close(ConformalSupervision(criterion)(*batch), expected)
    assert criterion.keywords["reduction"] == reduction


def test_an_ignore_index_of_forward_is_seen(batch: tuple[Tensor, Tensor]) -> None:
    class Forward(nn.Module):
        reduction = "mean"

        def forward(self, score: Tensor, label: Tensor, ignore_index: int = -100) -> Tensor:
            options: dict[str, Any] = {"reduction": self.reduction, "ignore_index": ignore_index}
            return F.cross_entropy(score, label, **options)

    expected = ConformalSupervision(nn.CrossEntropyLoss(ignore_index=255))(*batch)
    torch.testing.assert_close(ConformalSupervision(Forward())(*batch), expected)


@pytest.mark.parametrize("classes", [2, 21, 150])
def test_any_number_of_classes(classes: int) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(1, classes, 8, 8, generator=generator)
    pseudo = torch.randint(0, classes, (1, 8, 8), generator=generator)
    assert ConformalSupervision(mean_over_kept)(logits, pseudo).isfinite()
    with pytest.raises(OptionError, match="learns from dropped pixels"):
        ConformalSupervision(functools.partial(soft_dice, skip=False))(logits, pseudo)
