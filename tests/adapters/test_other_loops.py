"""Scripts whose loop takes no batches apart in its head: which kind each is, by its own lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from conformal_plugin.adapters.patching import manual_steps, patch_labels
from conformal_plugin.adapters.patching._other_loops import SECTIONS

PAGE = Path(__file__).parents[2] / "docs" / "any-loop.md"

BY_HAND = """
def main():
    loader_l, loader_u = get_loader(cfg)
    for epoch in range(80):
        train(model, teacher, loader_l, loader_u, epoch)


def train(model, teacher, loader_l, loader_u, epoch):
    batches_l, batches_u = iter(loader_l), iter(loader_u)
    weak = iter(loader_u)
    for step in range(len(loader_l)):
        _, image_l, label_l = batches_l.next()
        _, image_u, image_s, _ = next(weak)
        with torch.no_grad():
            scores = teacher(image_u.detach()).softmax(1)
            sure, guess = torch.max(scores, dim=1)
        image_s, guess, sure = pasted(image_s, guess, sure)
        pred = model(torch.cat((image_l, image_s)))
        pred_l, pred_s = pred[:len(image_l)], pred[len(image_l):]
        loss = criterion(pred_l, label_l) + where_sure(pred_s, guess.detach(), sure)
        loss.backward()
        shown = pred_l.argmax(dim=1)
"""

STREAMS = """
def train(args):
    for epoch_num in iterator:
        for i_batch, sampled_batch in enumerate(trainloader):
            volumes, labels = sampled_batch["image"], sampled_batch["label"]
            one, other = first(volumes), second(volumes)
            loss = ce_loss(one[:args.labeled_bs], labels[:args.labeled_bs])
            mine = torch.argmax(one[args.labeled_bs:].detach(), dim=1, keepdim=False)
            yours = torch.argmax(other[args.labeled_bs:].detach(), dim=1, keepdim=False)
            loss = loss + ce_loss(one[args.labeled_bs:], yours)
            loss = loss + ce_loss(other[args.labeled_bs:], mine)
            loss.backward()
            if i_batch % 20 == 0:
                outputs = torch.argmax(one, dim=1)
"""


def reason(source: str) -> str:
    result = patch_labels(source.encode())
    assert result.after is None
    (problem,) = result.problems
    return problem


def line(source: str, text: str) -> int:
    return 1 + source[: source.index(text)].count("\n")


def test_batches_that_are_fetched_by_hand() -> None:
    labelled, unlabelled = line(BY_HAND, "batches_l.next"), line(BY_HAND, "next(weak)")
    assert reason(BY_HAND) == (
        f"the loop on line {labelled - 1} fetches batches itself (`_, image_l, label_l` on line "
        f"{labelled}, from `batches_l` (line {line(BY_HAND, 'batches_l, batches_u')}); `_, image_u,"
        f" image_s, _` on line {unlabelled}, from `loader_u`, which is given to train()) and takes "
        "none apart in its head; the labels that its loss reads are `guess` (line "
        f'{line(BY_HAND, "torch.max")}). docs/any-loop.md shows the like in "A teacher, CutMix,'
        ' and a loss that edits its target"'
    )


def test_one_batch_of_both_kinds_and_two_networks() -> None:
    assert reason(STREAMS) == (
        f"the loop on line {line(STREAMS, 'for i_batch')} gets both kinds of photos in one batch, "
        "`sampled_batch`, and tells them apart by their place in it, `args.labeled_bs`: one data "
        "set makes both; its losses read several labels, `mine` (line "
        f"{line(STREAMS, 'mine =')}), `yours` (line {line(STREAMS, 'yours =')}). docs/any-loop.md "
        f'shows the like in "One loader of two streams" and "{SECTIONS["teacher"]}" and "Cross '
        'pseudo supervision"'
    )


@pytest.mark.parametrize(
    ("consistency", "expected"),
    [
        ("((one - other)[args.labeled_bs:] ** 2).mean()", "by argmax or max. docs"),
        ("weight_of(i) * F.mse_loss(one, other)", "soft targets (mse_loss on line 10)"),
        ("-(soft * F.log_softmax(one, 1)).sum()", "(a product with log_softmax on line 10)"),
        ("consistency_weight(i) * (one - other).square()", "by argmax or max. docs"),
    ],
)
def test_consistency_is_no_label(consistency, expected) -> None:
    source = STREAMS.replace("ce_loss(one[args.labeled_bs:], yours)", consistency)
    source = source.replace("ce_loss(other[args.labeled_bs:], mine)", "0")
    assert expected in reason(source)
    assert '"A mean teacher"' in reason(source)


def test_one_kind_of_batch() -> None:
    source = re.sub(r"\[:?args.labeled_bs:?\]", "", STREAMS)
    source = source.replace(", sampled_batch in", ", (image, mask) in")
    assert reason(source) == (
        f"the loop on line {line(STREAMS, 'for i_batch')} trains on one kind of batch, "
        "`image, mask`, and nothing in it tells labelled photos from unlabelled ones"
    )


def test_whole_batches_that_the_body_takes_apart() -> None:
    source = STREAMS.replace(", sampled_batch in", ", (batch_l, batch_u) in").replace(
        'sampled_batch["image"], sampled_batch["label"]', 'batch_l["image"], batch_u["label"]'
    )
    told = f"the loop on line {line(STREAMS, 'for i_batch')} gets whole batches, `batch_l`, `batch_"
    assert reason(source).startswith(told)


def test_one_kind_of_batch_that_is_fetched_by_hand() -> None:
    source = "for step in range(9):\n    image, label = batches.next()\n    loss.backward()\n"
    assert reason(source).startswith(
        "the loop on line 1 trains on one kind of batch, `image, label`"
    )


def test_the_page_has_what_is_pointed_to() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert all(f"\n## {section}\n" in page for section in SECTIONS.values())


def test_the_steps_name_no_host_and_point_to_the_page() -> None:
    steps = manual_steps(patch_labels(STREAMS.encode()), "ours.py")
    assert steps.startswith("ours.py was not changed:\n  - the loop on line ")
    assert "docs/any-loop.md" in steps
