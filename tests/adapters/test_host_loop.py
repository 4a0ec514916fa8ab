"""What a loop object does to a host's data set, loader and losses, and what it says in the log."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler

from conformal_plugin import calibrate, errors
from conformal_plugin.adapters.allspark import AllSparkLoop
from conformal_plugin.adapters.corrmatch import CorrMatchLoop
from conformal_plugin.adapters.fixmatch import FixMatchLoop
from conformal_plugin.adapters.labels import AlignedPseudoLabels
from conformal_plugin.adapters.unimatch import UniMatchLoop
from conformal_plugin.adapters.unimatch_v2 import FixMatchV2Loop, UniMatchV2Loop


@pytest.fixture
def cfg(data):
    return {"epochs": 4, "conformal": {"pseudo_labels": str(data.pseudo), "stage1_epochs": 2}}


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, "global")

    def lines(level=logging.INFO):
        """What was said at a level: of what was trained on, or, at WARNING, what is wrong."""
        found = [r for r in caplog.records if r.name == "global" and r.levelno == level]
        return [r.getMessage() for r in found]

    return lines


def criterion():
    return nn.CrossEntropyLoss(reduction="none")


def batches(dataset, workers=0, sampler=None):
    return DataLoader(dataset, batch_size=2, num_workers=workers, sampler=sampler)


def labelled(n):
    return [[torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4)] for _ in range(n)]


def step(loop, pred):
    """A step as a host's script makes it: the losses settled, then the backward pass."""
    loss = torch.zeros((), requires_grad=True)
    settled = loop(loss, pred.detach().requires_grad_())
    settled.backward()
    return loss, settled


def seed():
    import random

    import numpy as np

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


def same(one, other) -> bool:
    """Equal to the bit, types included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("workers", [0, 2])
def test_the_host_gets_the_batches_of_its_own_data_set(host_dataset, cfg, workers):
    loop = UniMatchLoop(cfg, criterion())

    def load(dataset, watch):
        seed()
        loader = zip(labelled(3), batches(dataset, workers), batches(dataset, workers))
        return list(watch(loader)), torch.rand(())

    plain, after = load(host_dataset, lambda loader: loader)
    watched, after_watching = load(
        loop.align(host_dataset), lambda loader: stepped(loop, loader, epoch=2)
    )
    assert len(plain) == 3
    assert same(plain, watched)
    assert torch.equal(after, after_watching)


def stepped(loop, loader, epoch):
    for batch in loop.watch(loader, epoch):
        loop((torch.zeros(()),) * 3, (torch.zeros(2, 4, 32, 32),) * 3)
        yield batch


def test_a_bare_tensor_stays_one(cfg):
    photos = torch.rand(2, 3, 4, 4)
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    loop = AllSparkLoop(cfg, nn.CrossEntropyLoss(ignore_index=255))
    ((_, own),) = loop.watch([(labelled(1)[0], [photos, labels])], 3)
    assert own is photos


def test_each_rank_of_a_distributed_sampler_gets_its_own(host_dataset, cfg):
    loop = FixMatchV2Loop(cfg, criterion())
    aligned = loop.align(host_dataset)
    seen = 0
    for rank in range(2):
        sampler = DistributedSampler(aligned, num_replicas=2, rank=rank)
        for batch in loop.watch(zip(labelled(2), batches(aligned, sampler=sampler)), 2):
            loop(torch.zeros(()), torch.zeros(2, 4, 32, 32))
            seen += len(batch[1][0])
    assert seen == 6


def test_without_the_key_nothing_is_touched(host_dataset, log):
    loop = UniMatchLoop({"epochs": 4}, criterion())
    loader, losses = [1, 2], (torch.zeros(()),) * 3
    assert loop.align(host_dataset) is host_dataset
    assert loop.watch(loader, 0) is loader
    assert loop(losses, losses) is losses
    assert log() == []


def test_stage_one_supervises_the_remembered_batch(host_dataset, data, cfg):
    loop = FixMatchV2Loop(cfg, criterion())
    for i in range(6):
        data.drop_labels(f"p{i}", slice(0, 12))
    loader = DataLoader(loop.align(host_dataset), batch_size=2)
    pred = torch.randn(2, 4, 32, 32, requires_grad=True)
    seed()
    pseudo = next(iter(loader))[-1]
    seed()
    for _, (_, _, _, ignore_mask, box, _) in loop.watch(zip(labelled(1), loader), 0):
        _, loss = step(loop, pred)
        valid = torch.where(box == 1, ignore_mask.flip(0), ignore_mask) != 255
        target = torch.where(box == 1, pseudo.flip(0), pseudo).where(valid, torch.tensor(255))
        expected = nn.functional.cross_entropy(pred, target, ignore_index=255, reduction="sum")
        torch.testing.assert_close(loss, expected / valid.sum())


def test_stage_two_gives_the_same_objects_back(host_dataset, cfg):
    loop = FixMatchV2Loop(cfg, criterion())
    pred = torch.zeros(2, 4, 32, 32)
    for _ in loop.watch(zip(labelled(1), batches(loop.align(host_dataset))), 2):
        given, got = step(loop, pred)
        assert got is given


def test_a_resumed_run_is_in_the_stage_of_its_epoch(host_dataset, data, cfg, log):
    """There is nothing to load: the host's epoch says it."""
    for i in range(6):
        data.drop_labels(f"p{i}", slice(0, 12))
    loop = FixMatchV2Loop(cfg, criterion())
    for epoch in (1, 2):
        for _ in loop.watch(zip(labelled(1), batches(loop.align(host_dataset))), epoch):
            step(loop, torch.zeros(2, 4, 32, 32))
    said = [line for line in log() if ": epoch" in line]
    assert ["stage I," in said[0], "stage II," in said[1]] == [True, True]


def test_the_log_tells_the_share_of_labelled_pixels(host_dataset, data, cfg, log):
    for i in range(6):
        data.drop_labels(f"p{i}", slice(None))
    loop = FixMatchV2Loop(cfg, criterion())
    watched = iter(loop.watch(zip(labelled(3), batches(loop.align(host_dataset))), 0))
    for _ in range(3):
        next(watched)
        _, loss = step(loop, torch.zeros(2, 4, 32, 32, requires_grad=True))
        assert loss.item() == 0
    with pytest.warns(UserWarning, match=r"kept 0.00% of \d+ valid pixels"):
        list(watched)
    assert log()[-1] == "Conformal: epoch 0, stage I, 0.0% of the unlabelled pixels carried a label"


def test_each_epoch_counts_anew(cfg, log):
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    half = labels.clone()
    half[:, :2] = 255
    loop = AllSparkLoop(cfg, nn.CrossEntropyLoss(ignore_index=255))
    cfg["conformal"]["stage1_epochs"] = 4
    shares = []
    for epoch, pseudo in enumerate([half, labels.where(half == 0, torch.tensor(1))]):
        pseudo[0, 0, 0] = 255
        for _ in loop.watch([(None, [torch.zeros(2, 3, 4, 4), pseudo])], epoch):
            step(loop, torch.zeros(2, 3, 4, 4))
        shares.append(log()[-1].split(", ")[2].split("%")[0])
    assert shares == ["50.0", "96.9"]


def test_padding_is_told_from_filtered_pixels_where_the_host_has_no_mask(cfg, log):
    pseudo = torch.zeros(2, 4, 4, dtype=torch.int64)
    pseudo[:, 2:], pseudo[:, :, 3:] = 255, -1  # 6 kept and 6 filtered of 12 a photo
    loop = AllSparkLoop(cfg, nn.CrossEntropyLoss(ignore_index=255))
    pred = torch.randn(2, 3, 4, 4)
    for _ in loop.watch([(None, [torch.zeros(2, 3, 4, 4), pseudo])], 0):
        _, loss = step(loop, pred)
    torch.testing.assert_close(loss, -pred.log_softmax(1)[:, 0, :2, :3].sum() / 24)
    assert "50.0% of" in log()[-1]


def test_the_aligned_data_set_of_allspark_knows_its_padding(
    cfg, host, copied_host, data, monkeypatch
):
    script = copied_host("allspark/train_allspark.py", patched=False)
    monkeypatch.syspath_prepend(script.parent)
    from dataset.semi import SemiDataset

    loop = AllSparkLoop(cfg, nn.CrossEntropyLoss(ignore_index=255))
    dataset = SemiDataset("pascal", str(data.root), "train_u", 32, str(data.unlabelled))
    aligned = loop.align(dataset)
    assert isinstance(aligned, AlignedPseudoLabels)
    seed()
    padded = 0
    for i in range(30):
        photo, label = aligned[i % 6]
        padded += bool((label == -1).any())
        assert (photo[:, label == -1] == 0).all()
        assert (label != 255).all()
    assert padded > 5


@pytest.mark.parametrize(
    ("loop", "views", "mixed"),
    [
        (FixMatchLoop, 0, True),
        (UniMatchLoop, 3, True),
        (FixMatchV2Loop, 0, False),
        (UniMatchV2Loop, 2, False),
        (CorrMatchLoop, 4, True),
    ],
)
def test_what_the_loader_left_on_the_cpu_goes_to_the_predictions(
    host_dataset, cfg, loop, views, mixed
):
    """On a device without values, so that nothing can be read back from it either."""
    loop = loop(cfg, criterion())
    loaders = [batches(loop.align(host_dataset)) for _ in range(1 + mixed)]
    logits = torch.zeros(views or 1, 2, 4, 32, 32, device="meta")
    preds = [pred.requires_grad_() for pred in logits.unbind()]
    losses = [torch.zeros((), device="meta") for _ in preds]
    next(iter(loop.watch(zip(labelled(1), *loaders), 0)))
    if views:
        sum(loop(tuple(losses), tuple(preds))).backward()
    else:
        loop(losses[0], preds[0]).backward()
    assert all(pred.grad is not None for pred in preds)


def test_weight_and_mode_come_from_the_config(cfg):
    part = [torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64)]
    pred = torch.randn(2, 3, 4, 4)

    def loss(**options):
        loop = AllSparkLoop(
            {"epochs": 4, "conformal": cfg["conformal"] | options}, nn.CrossEntropyLoss()
        )
        next(iter(loop.watch([(None, part)], 0)))
        return loop(torch.tensor(5.0), pred)

    torch.testing.assert_close(loss(weight=0.5), loss() / 2)
    torch.testing.assert_close(loss(mode="add"), loss() + 5)


def test_the_classes_are_checked_against_the_calibration(cfg, tmp_path):
    scores = torch.rand(1, 3, 20, 20).softmax(1)
    calibration = calibrate(scores, torch.randint(0, 3, (1, 20, 20)), alpha=0.2)
    calibration.save(tmp_path / "calibration.json")
    cfg["conformal"]["calibration"] = str(tmp_path / "calibration.json")
    loop = AllSparkLoop(cfg, nn.CrossEntropyLoss())
    part = [torch.zeros(2, 3, 4, 4), torch.zeros(2, 4, 4, dtype=torch.int64)]
    next(iter(loop.watch([(None, part)], 0)))
    with pytest.raises(errors.ShapeError, match="expected logits with 3 classes"):
        loop(torch.zeros(()), torch.zeros(2, 4, 4, 4))


# What is refused.


def test_photos_without_a_pseudo_label_are_named_before_training(host_dataset, data, cfg):
    (data.pseudo / "p3.png").unlink()
    loop = UniMatchLoop(cfg, criterion())
    with pytest.raises(errors.SourceFileError, match=r"1 of 6 unlabelled photos .* photos/p3.png"):
        loop.align(host_dataset)


def test_a_data_set_that_was_not_aligned_is_noticed_at_the_first_batch(host_dataset, cfg):
    loop = UniMatchLoop(cfg, criterion())
    with pytest.raises(errors.InputTypeError, match=r"ends with .* torch.float32: put 'trainset_u"):
        next(iter(loop.watch(zip(labelled(1), batches(host_dataset)), 0)))
    bare = AllSparkLoop(cfg, criterion())
    with pytest.raises(errors.InputTypeError, match=r"a tensor \(2, 3, 4, 4\) of torch.float32"):
        next(iter(bare.watch([(None, torch.zeros(2, 3, 4, 4))], 0)))


def test_a_loader_that_is_not_watched_is_noticed_at_the_first_loss(cfg):
    loop = FixMatchLoop(cfg, criterion())
    with pytest.raises(errors.OptionError, match="put 'loader = conformal.watch"):
        loop(torch.zeros(()), torch.zeros(2, 3, 4, 4))


def test_losses_that_never_came_are_noticed(host_dataset, cfg):
    loop = FixMatchV2Loop(cfg, criterion())
    with pytest.raises(errors.OptionError, match="epoch 0 is in stage I, but its losses never"):
        list(loop.watch(zip(labelled(1), batches(loop.align(host_dataset))), 0))


def test_an_epoch_without_a_batch_is_no_error(cfg, log):
    assert list(FixMatchLoop(cfg, criterion()).watch([], 0)) == []
    assert len(log()) == 1
