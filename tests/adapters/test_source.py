"""Labels replaced where a script makes them: what comes back, and what is refused."""

from __future__ import annotations

import logging

import pytest
import torch
from torch.utils.data import DataLoader

from conformal_plugin.adapters.source import PADDING, SourceLoop
from conformal_plugin.errors import LabelError, OptionError, ShapeError


@pytest.fixture
def cfg(data):
    options = {"pseudo_labels": str(data.pseudo), "stage1_epochs": 1}
    return {"epochs": 2, "nclass": 4, "conformal": options}


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, "global")
    return lambda: [r.getMessage() for r in caplog.records if r.name == "global"]


def part(pseudo=None):
    photos = torch.rand(2, 3, 4, 4)
    if pseudo is None:
        pseudo = torch.tensor([0, 1, 2, 255]).expand(2, 4, 4).clone()
    return [photos, torch.rand(2, 3, 4, 4), pseudo]


def made():
    """Confidence and label as a script makes them."""
    return torch.full((2, 4, 4), 0.7), torch.full((2, 4, 4), 3)


def watched(loop, *parts, epoch=0, positions=(1,)):
    """The first batch of an epoch, as the loop is given it; the loop over it stays open."""
    loader = [("labelled", *parts)]
    return iter(loop.watch(loader, epoch, parts=positions))


def test_kept_pixels_are_sure_and_conformal_the_others_unsure_and_the_scripts_own(cfg):
    loop, given = SourceLoop(cfg), part()
    batches = watched(loop, given)
    labelled, (photos, strong) = next(batches)
    assert labelled == "labelled"
    assert photos is given[0]
    assert strong is given[1]
    conf, label = loop.source(*made(), photos, part=1)
    kept = given[-1] != 255
    assert torch.equal(conf, kept.float())
    assert torch.equal(label, torch.where(kept, given[-1], 3))
    assert label.dtype == torch.int64
    assert conf.dtype == torch.float32
    batches.close()


def test_each_part_has_its_own_labels(cfg):
    loop = SourceLoop(cfg)
    first, second = part(), part(torch.full((2, 4, 4), 1))
    batches = watched(loop, first, second, positions=(1, 2))
    _, (photos, _), (other, _) = next(batches)
    assert torch.equal(loop.source(*made(), other, part=2)[1], second[-1])
    assert torch.equal(loop.source(*made(), photos, part=1)[1][..., :3], first[-1][..., :3])
    batches.close()


def test_stage_two_and_no_key_give_the_same_objects_back(cfg):
    conf, label = made()
    loop, given = SourceLoop(cfg), part()
    next(watched(loop, given, epoch=1))
    for one in (loop, SourceLoop({"epochs": 2})):
        if one is loop:
            batches = watched(loop, given, epoch=1)
            next(batches)
        again = one.source(conf, label, given[0], part=1)
        assert again[0] is conf
        assert again[1] is label


def test_a_bare_photo_stays_one(cfg):
    loop = SourceLoop(cfg)
    photos, _, pseudo = part()
    _, own = next(watched(loop, [photos, pseudo], epoch=1))
    assert own is photos


def test_padding_is_neither_kept_nor_counted(cfg, log):
    pseudo = torch.zeros(2, 4, 4, dtype=torch.int64)
    pseudo[:, 2:], pseudo[:, :, 3:] = 255, PADDING  # 6 kept and 6 dropped of 12 a photo
    loop = SourceLoop(cfg)
    pred = torch.randn(2, 4, 4, 4, requires_grad=True)
    for _, (photos, _) in loop.watch([("labelled", part(pseudo))], 0):
        conf, label = loop.source(*made(), photos, part=1)
        assert (conf[pseudo == PADDING] == 0).all()
        losses = torch.nn.functional.cross_entropy(pred, label, reduction="none")
        (losses * (conf > 0.5)).sum().backward()
    assert log()[-1].startswith(
        "Conformal: epoch 0, stage I, 50.0% of the unlabelled pixels carried a label"
    )


def test_labels_of_features_are_smaller(cfg):
    loop, given = SourceLoop(cfg), part()
    _, (photos, _) = next(batches := watched(loop, given))
    conf, label = loop.source(torch.ones(2, 2, 4), torch.full((2, 2, 4), 3), photos, part=1)
    assert torch.equal(conf, (given[-1][:, ::2] != 255).float())
    assert torch.equal(label, given[-1][:, ::2].where(conf == 1, torch.tensor(3)))
    batches.close()


def test_the_data_set_is_aligned_with_padding_of_its_own(host_dataset, cfg):
    loop = SourceLoop(cfg)
    batch = next(iter(DataLoader(loop.align(host_dataset), batch_size=2)))
    assert torch.equal(batch[-1] == PADDING, batch[3] == 255)


# What is refused.


@pytest.mark.parametrize("option", [{"mode": "add"}, {"weight": 0.5}])
def test_what_is_for_losses_is_refused_here(cfg, option):
    cfg["conformal"] |= option
    with pytest.raises(OptionError, match="mode 'add' and a weight other than 1 are not for"):
        SourceLoop(cfg)


def test_photos_that_were_pasted_into_are_noticed(cfg):
    loop = SourceLoop(cfg)
    _, (photos, _) = next(batches := watched(loop, part()))
    photos[:, :, :2] = 0  # in place, as CutMix does
    with pytest.raises(OptionError, match="are not those of part 1 of the batch"):
        loop.source(*made(), photos, part=1)
    batches.close()


@pytest.mark.parametrize(
    ("confidence", "label"),
    [((2, 4, 4), (2, 2, 2)), ((1, 4, 4), (1, 4, 4)), ((2, 8, 8), (2, 8, 8)), ((2, 1, 4, 4),) * 2],
)
def test_labels_of_other_photos_are_refused(cfg, confidence, label):
    loop = SourceLoop(cfg)
    _, (photos, _) = next(batches := watched(loop, part()))
    given = torch.ones(confidence), torch.ones(label, dtype=torch.int64)
    with pytest.raises(ShapeError, match=r"2 photos .* no larger than these, \(4, 4\)"):
        loop.source(*given, photos, part=1)
    batches.close()


def test_a_label_that_is_no_class_is_refused(cfg):
    loop = SourceLoop(cfg)
    _, (photos, _) = next(batches := watched(loop, part(torch.full((2, 4, 4), 9))))
    with pytest.raises(LabelError, match="got 9 at 32 pixels"):
        loop.source(*made(), photos, part=1)
    batches.close()


def test_a_part_that_is_not_watched_is_refused(cfg):
    loop = SourceLoop(cfg)
    with pytest.raises(OptionError, match=r"put 'loader = conformal.watch\(loader, epoch, parts"):
        loop.source(*made(), torch.rand(2, 3, 4, 4), part=1)
    next(batches := watched(loop, part()))
    with pytest.raises(OptionError, match="expected a batch with part 2"):
        loop.source(*made(), torch.rand(2, 3, 4, 4), part=2)
    batches.close()


def test_labels_that_are_never_asked_for_stop_the_run_in_its_second_step(cfg):
    loop = SourceLoop(cfg)
    batches = iter(loop.watch([("labelled", part())] * 3, 0))
    next(batches)
    with pytest.raises(OptionError, match="epoch 0 is in stage I, but its labels were never asked"):
        next(batches)


def test_losses_are_not_settled_here(cfg):
    loop = SourceLoop(cfg)
    next(batches := watched(loop, part()))
    with pytest.raises(OptionError, match="labels at their source have no losses to settle"):
        loop(torch.zeros(()), torch.zeros(2, 4, 4, 4))
    batches.close()
