"""Two gloo ranks under DistributedDataParallel, one of them without a kept pixel."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from groups import end_group
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from conformal_plugin import ConformalSupervision, TwoStage

EPOCHS = (0, 1)  # stage I, stage II


def student() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(3, 4, 1)


def weights(rank: int) -> Tensor:
    draw = torch.Generator().manual_seed(10 + rank)
    return torch.rand(2, 6, 6, generator=draw)


def data(rank: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(rank)
    images = torch.randn(2, 3, 6, 6, generator=draw)
    pseudo = torch.randint(0, 4, (2, 6, 6), generator=draw)
    pseudo[:, :2] = 255
    return images, pseudo if rank == 0 else torch.full_like(pseudo, 255)


def work(rank: int, folder: str, weighted: bool) -> None:
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/meeting",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=40),
    )
    torch.set_num_threads(1)
    model = DistributedDataParallel(student())
    supervise = ConformalSupervision(nn.CrossEntropyLoss(), schedule=TwoStage(1, 2))
    images, pseudo = data(rank)
    gradients = []
    for epoch in EPOCHS:
        model.zero_grad()
        of_pixels = weights(rank) if weighted else None
        supervise(model(images), pseudo, epoch=epoch, weights=of_pixels).backward()
        gradients.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    kept = supervise._log._totals
    torch.save({"gradients": gradients, "kept": kept}, f"{folder}/rank{rank}.pt")
    end_group()


@pytest.mark.parametrize("weighted", [False, True], ids=["alike", "weighted"])
def test_gradients_are_those_of_one_process(
    weighted: bool, start_ranks: Callable[..., None]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        start_ranks(work, (folder, weighted), 2)
        ranks = [torch.load(Path(folder) / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    model = student()
    images, pseudo = data(0)
    each = F.cross_entropy(model(images), pseudo, ignore_index=255, reduction="none")
    if weighted:  # over their mean, so that the term keeps its size
        counted = torch.where(pseudo != 255, weights(0), 0)
        each = each * counted / counted.sum() * (pseudo != 255).sum()
    # DDP averages over ranks, and the other rank adds nothing.
    (each.sum() / pseudo.numel() / 2).backward()
    for rank in ranks:
        for got, parameter in zip(rank["gradients"][0], model.parameters()):
            torch.testing.assert_close(got, parameter.grad)
        for got in rank["gradients"][1]:
            assert torch.equal(got, torch.zeros_like(got))
    # Each rank counts its own pixels.
    assert ranks[0]["kept"][:-2].sum() == 2 * 4 * 6
    assert ranks[1]["kept"].tolist() == [0, 0, 0, 0, 72, 0]
