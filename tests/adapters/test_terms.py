"""The hosts' losses in stage II to the bit, conformal ones over the same views in stage I."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from conformal_plugin import ConformalSupervision, TwoStage, errors
from conformal_plugin.adapters.allspark import PADDING, AllSparkTerm
from conformal_plugin.adapters.corrmatch import CorrMatchTerm
from conformal_plugin.adapters.fixmatch import FixMatchTerm
from conformal_plugin.adapters.loop import ConformalViews, Targets
from conformal_plugin.adapters.unimatch import UniMatchTerm
from conformal_plugin.adapters.unimatch_v2 import FixMatchV2Term, UniMatchV2Term

N, K, H, W = 3, 5, 6, 7


@dataclass(frozen=True)
class Step:
    """What a host's loop holds when it has computed its unlabelled losses."""

    losses: tuple[Tensor, Tensor, Tensor, Tensor]
    preds: tuple[Tensor, Tensor, Tensor, Tensor]
    pseudo: Tensor
    pseudo_mix: Tensor
    boxes: tuple[Tensor, Tensor]
    ignore: Tensor
    ignore_mix: Tensor

    def unimatch(self, term, epoch=0):
        return self._with_partner(term, self.losses[:3], self.preds[:3], self.boxes, epoch)

    def fixmatch(self, term, epoch=0):
        return self._with_partner(term, self.losses[0], self.preds[0], self.boxes[0], epoch)

    def fixmatch_v2(self, term, epoch=0):
        return term(
            self.losses[0], self.preds[0], self.pseudo, self.boxes[0], self.ignore, epoch=epoch
        )

    def unimatch_v2(self, term, epoch=0):
        return term(
            self.losses[:2], self.preds[:2], self.pseudo, self.boxes, self.ignore, epoch=epoch
        )

    def corrmatch(self, term, epoch=0):
        return self._with_partner(term, self.losses, self.preds, self.boxes[0], epoch)

    def allspark(self, term, epoch=0):
        pseudo = self.pseudo.where(self.ignore != 255, torch.tensor(PADDING))
        return term(self.losses[0], self.preds[0], pseudo, epoch=epoch)

    def _with_partner(self, term, losses, preds, boxes, epoch):
        labels, masks = (self.pseudo, self.pseudo_mix), (self.ignore, self.ignore_mix)
        return term(losses, preds, *labels, boxes, *masks, epoch=epoch)


TERMS = {
    "fixmatch": FixMatchTerm,
    "unimatch": UniMatchTerm,
    "fixmatch_v2": FixMatchV2Term,
    "unimatch_v2": UniMatchV2Term,
    "corrmatch": CorrMatchTerm,
    "allspark": AllSparkTerm,
}


def settled(step, name, term, epoch=0) -> tuple[Tensor, ...]:
    """The losses of one host's term, always a tuple."""
    losses = getattr(step, name)(term, epoch=epoch)
    return losses if isinstance(losses, tuple) else (losses,)


@pytest.fixture
def step() -> Step:
    draw = torch.Generator().manual_seed(0)

    def pseudo():
        labels = torch.randint(0, K, (N, H, W), generator=draw)
        return labels.where(torch.rand(N, H, W, generator=draw) < 0.6, torch.tensor(255))

    def box():
        return (torch.rand(N, H, W, generator=draw) < 0.4).float()

    ignore, ignore_mix = torch.zeros(2, N, H, W, dtype=torch.int64)
    ignore[:, 4:], ignore_mix[:, :, 5:] = 255, 255
    return Step(
        losses=tuple(torch.rand(4, generator=draw).requires_grad_().unbind()),
        preds=tuple(torch.randn(N, K, H, W, generator=draw, requires_grad=True) for _ in range(4)),
        pseudo=pseudo(),
        pseudo_mix=pseudo(),
        boxes=(box(), box()),
        ignore=ignore,
        ignore_mix=ignore_mix,
    )


def supervision(**options) -> ConformalSupervision:
    return ConformalSupervision(nn.CrossEntropyLoss(reduction="none"), **options)


def by_hand(pred, pseudo, pseudo_mix, box, ignore, ignore_mix) -> Tensor:
    """The hosts' arithmetic with pseudo-labels of ours, pixel by pixel."""
    total, valid = torch.zeros(()), 0
    for n in range(N):
        for y in range(H):
            for x in range(W):
                mixed = box[n, y, x] == 1
                label = (pseudo_mix if mixed else pseudo)[n, y, x]
                padding = (ignore_mix if mixed else ignore)[n, y, x] == 255
                valid += not padding
                if not padding and label != 255:
                    total = total - pred[n, :, y, x].log_softmax(0)[label]
    return total / valid


def test_fixmatch_stage_one_is_the_cross_entropy_of_kept_pixels(step):
    loss = step.fixmatch(FixMatchTerm(supervision()))
    mixed = step.pseudo, step.pseudo_mix, step.boxes[0], step.ignore, step.ignore_mix
    expected = by_hand(step.preds[0], *mixed)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(
        torch.autograd.grad(loss, step.preds[0]), torch.autograd.grad(expected, step.preds[0])
    )


def test_unimatch_mixes_its_strong_views_and_leaves_the_perturbed_one(step):
    s1, s2, fp = step.unimatch(UniMatchTerm(supervision()))
    own, masks = (step.pseudo, step.pseudo_mix), (step.ignore, step.ignore_mix)
    no_box = torch.zeros(N, H, W)
    torch.testing.assert_close(s1, by_hand(step.preds[0], *own, step.boxes[0], *masks))
    torch.testing.assert_close(s2, by_hand(step.preds[1], *own, step.boxes[1], *masks))
    torch.testing.assert_close(fp, by_hand(step.preds[2], *own, no_box, *masks))


def test_v2_pastes_the_reversed_batch(step):
    mixed = step.pseudo, step.pseudo.flip(0)
    masks = step.ignore, step.ignore.flip(0)
    loss = step.fixmatch_v2(FixMatchV2Term(supervision()))
    torch.testing.assert_close(loss, by_hand(step.preds[0], *mixed, step.boxes[0], *masks))
    s1, s2 = step.unimatch_v2(UniMatchV2Term(supervision()))
    torch.testing.assert_close(s1, by_hand(step.preds[0], *mixed, step.boxes[0], *masks))
    torch.testing.assert_close(s2, by_hand(step.preds[1], *mixed, step.boxes[1], *masks))


def test_corrmatch_mixes_the_strong_view_and_its_head_alone(step):
    s1, corr, kl, fp = step.corrmatch(CorrMatchTerm(supervision()))
    own, masks = (step.pseudo, step.pseudo_mix), (step.ignore, step.ignore_mix)
    box, no_box = step.boxes[0], torch.zeros(N, H, W)
    torch.testing.assert_close(s1, by_hand(step.preds[0], *own, box, *masks))
    strong_head = by_hand(step.preds[1], *own, box, *masks)
    weak_head = by_hand(step.preds[2], *own, no_box, *masks)
    torch.testing.assert_close(corr, 0.5 * (strong_head + weak_head))
    torch.testing.assert_close(fp, by_hand(step.preds[3], *own, no_box, *masks))
    assert kl.item() == 0
    assert kl.requires_grad


def test_corrmatch_keeps_its_divergence_beside_the_labels(step):
    kl = step.corrmatch(CorrMatchTerm(supervision(), mode="add"))[2]
    assert kl is step.losses[2]


def test_a_resting_loss_is_zero_for_infinite_logits_too(step):
    preds = (step.preds[0].detach().fill_(float("inf")).requires_grad_(), *step.preds[1:])
    kl = CorrMatchTerm(supervision()).rest(step.losses[2], preds[0], epoch=0)
    kl.backward()
    assert kl.item() == 0
    assert (preds[0].grad == 0).all()


def test_allspark_divides_by_the_pixels_of_photos(step):
    loss = step.allspark(AllSparkTerm(supervision()))
    no_box = torch.zeros(N, H, W)
    expected = by_hand(
        step.preds[0], step.pseudo, step.pseudo_mix, no_box, step.ignore, step.ignore_mix
    )
    torch.testing.assert_close(loss, expected)


def test_gradients_reach_every_view_through_the_hosts_own_sum(step):
    s1, s2, fp = step.unimatch(UniMatchTerm(supervision()))
    ((s1 * 0.25 + s2 * 0.25 + fp * 0.5) / 2.0).backward()
    for index, (pred, weight) in enumerate(zip(step.preds, (0.125, 0.125, 0.25))):
        alone = pred.detach().requires_grad_()
        preds = step.preds[:index] + (alone,) + step.preds[index + 1 :]
        replace(step, preds=preds).unimatch(UniMatchTerm(supervision()))[index].backward()
        torch.testing.assert_close(pred.grad, weight * alone.grad)


def test_the_conformal_term_equals_the_hosts_where_its_labels_are_the_same(step):
    """With the host's confident argmax as pseudo-labels, its own loss comes out."""
    weak = torch.randn(N, K, H, W, generator=torch.Generator().manual_seed(1))
    confidence, argmax = weak.softmax(1).max(1)
    valid = step.ignore != 255
    host = F.cross_entropy(step.preds[2], argmax, reduction="none")
    host = (host * ((confidence >= 0.5) & valid)).sum() / valid.sum().item()
    kept = argmax.where(confidence >= 0.5, torch.tensor(255))
    fp = replace(step, pseudo=kept).unimatch(UniMatchTerm(supervision()))[2]
    torch.testing.assert_close(fp, host)


@pytest.mark.parametrize("name", TERMS)
def test_add_is_the_hosts_loss_plus_the_conformal_one(step, name):
    alone = settled(step, name, TERMS[name](supervision()))
    both = settled(step, name, TERMS[name](supervision(), mode="add"))
    for loss, host, conformal in zip(both, step.losses, alone):
        torch.testing.assert_close(loss, host + conformal)


@pytest.mark.parametrize("mode", ["replace", "add"])
@pytest.mark.parametrize("name", TERMS)
def test_stage_two_returns_the_hosts_tensors_themselves(step, name, mode):
    term = TERMS[name](supervision(schedule=TwoStage(stage1=2, total=3)), mode=mode)
    assert settled(step, name, term, epoch=1)[0] is not step.losses[0]
    own = settled(step, name, term, epoch=2)
    assert all(out is given for out, given in zip(own, step.losses))


def test_stage1_of_zero_is_the_host_from_the_first_epoch(step):
    term = FixMatchTerm(supervision(schedule=TwoStage(stage1=0, total=3)))
    assert step.fixmatch(term, epoch=0) is step.losses[0]


def test_without_a_schedule_every_epoch_is_stage_one(step):
    term = FixMatchTerm(supervision())
    assert torch.equal(step.fixmatch(term, epoch=None), step.fixmatch(term, epoch=999))


@pytest.mark.parametrize("name", TERMS)
def test_no_kept_pixel_gives_zero_and_finite_gradients(step, name):
    nothing = torch.full((N, H, W), 255)
    empty = replace(step, pseudo=nothing, pseudo_mix=nothing)
    losses = settled(empty, name, TERMS[name](supervision()))
    assert [loss.item() for loss in losses] == [0] * len(losses)
    sum(losses).backward()
    used = [pred.grad for pred in step.preds if pred.grad is not None]
    assert used
    assert all((grad == 0).all() for grad in used)


@pytest.mark.parametrize("name", TERMS)
def test_nothing_but_padding_gives_zero_where_the_host_gives_nan(step, name):
    """The hosts divide by the count of valid pixels, 0 here; what they get is not touched."""
    padding = torch.full((N, H, W), 255)
    nan = tuple(loss * float("nan") for loss in step.losses)
    empty = replace(step, losses=nan, ignore=padding, ignore_mix=padding)
    losses = settled(empty, name, TERMS[name](supervision()))
    assert [loss.item() for loss in losses] == [0] * len(losses)
    sum(losses).backward()
    assert all((pred.grad == 0).all() for pred in step.preds if pred.grad is not None)


@pytest.mark.parametrize("name", TERMS)
def test_a_host_loss_of_nan_does_no_harm_where_it_is_replaced(step, name):
    nan = tuple(loss * float("nan") for loss in step.losses)
    losses = settled(replace(step, losses=nan), name, TERMS[name](supervision()))
    expected = settled(step, name, TERMS[name](supervision()))
    assert all(map(torch.equal, losses, expected))
    sum(losses).backward()
    assert all(pred.grad.isfinite().all() for pred in step.preds if pred.grad is not None)


@pytest.mark.parametrize("name", TERMS)
def test_labels_under_padding_never_count(step, name):
    term = TERMS[name](supervision())
    expected = settled(step, name, term)
    relabelled = replace(
        step,
        pseudo=step.pseudo.where(step.ignore != 255, torch.tensor(2)),
        pseudo_mix=step.pseudo_mix.where(step.ignore_mix != 255, torch.tensor(2)),
    )
    for loss, same in zip(settled(relabelled, name, term), expected):
        assert torch.equal(loss, same)


@pytest.mark.parametrize("mode", ["replace", "add"])
@pytest.mark.parametrize("name", TERMS)
def test_runs_on_a_device_where_there_are_no_values_to_read(step, name, mode):
    def to(tensors):
        return tuple(tensor.detach().to("meta").requires_grad_() for tensor in tensors)

    there = replace(step, losses=to(step.losses), preds=to(step.preds))
    for field in ("pseudo", "pseudo_mix", "ignore", "ignore_mix"):
        there = replace(there, **{field: getattr(step, field).to("meta")})
    there = replace(there, boxes=tuple(box.to("meta") for box in step.boxes))
    losses = settled(there, name, TERMS[name](supervision(), mode=mode))
    sum(losses).backward()
    assert any(pred.grad is not None for pred in there.preds)


def test_kept_shares_are_those_of_the_views(step):
    term = FixMatchTerm(supervision())
    step.fixmatch(term)
    own = Targets(step.pseudo, step.ignore)
    mixed = own.pasted(Targets(step.pseudo_mix, step.ignore_mix), step.boxes[0])
    valid = mixed.ignore_mask != 255
    summary = term.supervise.summary()
    assert summary["valid_pixels"] == valid.sum()
    assert summary["kept_pixels"] == ((mixed.pseudo != 255) & valid).sum()


def test_state_survives_a_checkpoint(step):
    schedule = TwoStage(stage1=2, total=3)
    term = FixMatchTerm(supervision(schedule=schedule))
    step.fixmatch(term, epoch=1)
    resumed = FixMatchTerm(supervision(schedule=schedule))
    resumed.load_state_dict(term.state_dict())
    assert torch.equal(resumed.supervise.get_extra_state(), term.supervise.get_extra_state())


# What is refused.


def test_the_mode_is_one_of_two():
    with pytest.raises(errors.OptionError, match="'replace' or 'add', but got 'both'"):
        ConformalViews(supervision(), mode="both")


def test_a_bare_criterion_is_not_wrapped():
    with pytest.raises(errors.InputTypeError, match="got CrossEntropyLoss: wrap the criterion"):
        FixMatchTerm(nn.CrossEntropyLoss())


def test_a_schedule_needs_the_epoch(step):
    term = FixMatchTerm(supervision(schedule=TwoStage.voc()))
    with pytest.raises(errors.OptionError, match="pass the host's epoch=epoch"):
        step.fixmatch(term, epoch=None)


def test_labels_out_of_range_are_named(step):
    stray = replace(step, pseudo=torch.full((N, H, W), K))
    with pytest.raises(errors.LabelError, match=f"got {K} at"):
        stray.fixmatch(FixMatchTerm(supervision()))
