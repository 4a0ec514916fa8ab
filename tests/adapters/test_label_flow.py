"""Labels followed through a step: what a script does with them, and which losses they reach."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from conformal_plugin.adapters.loop._label_flow import DROPPED, KEPT, OTHERS, OWN, LabelFlow
from conformal_plugin.adapters.loop._losses_going_on import LossGoingOn
from conformal_plugin.adapters.loop._proof import FirstSteps
from conformal_plugin.errors import OptionError


@pytest.fixture
def flow():
    made = LabelFlow()
    made.start()
    yield made
    made.stop()


def handed_out(flow, n=2, size=4):
    """Labels with the two upper rows kept."""
    labels = torch.randint(0, 3, (n, size, size))
    kept = torch.zeros(n, size, size, dtype=torch.bool)
    kept[:, :2] = True
    flow.hand_out(labels, kept)
    return labels, kept


def logits(n=2, size=4):
    return torch.randn(n, 3, size, size, requires_grad=True)


def states(flow):
    return [meeting.state for meeting in flow.meetings]


CUTMIXES = {
    "where": lambda own, other, box: torch.where(box, other, own),
    "method": lambda own, other, box: other.where(box, own),
    "in place": lambda own, other, box: _set(own.clone(), other, box),
    "masked": lambda own, other, box: _set(own.clone().long(), other.detach(), box),
    "into another tensor": lambda own, other, box: _set(_set(torch.zeros_like(own), own, ~box),
                                                        other, box),
}  # fmt: skip


def _set(own, other, box):
    own[box] = other[box]
    return own


@pytest.mark.parametrize("mix", CUTMIXES.values(), ids=CUTMIXES)
def test_cutmix_pastes_what_is_known_of_each_pixel(flow, mix):
    (own, own_kept), (other, _) = handed_out(flow), handed_out(flow)
    other = other.flip(1)  # the lower rows are kept
    box = torch.zeros(2, 4, 4, dtype=torch.bool)
    box[:, :, :2] = True
    F.cross_entropy(logits(), mix(own, other, box), reduction="none").sum().backward()
    expected = torch.where(box, own_kept.flip(1), own_kept).long()
    assert torch.equal(states(flow)[0], expected)


def test_two_clones_are_pasted_into_apart(flow):
    own, kept = handed_out(flow)
    other = torch.zeros_like(own)
    first, second = own.clone(), own.clone()
    first[:, :, 0] = other[:, :, 0]
    for target in (first, second):
        F.cross_entropy(logits(), target, reduction="none")
    mixed, plain = states(flow)
    assert (mixed[:, :, 0] == OTHERS).all()
    assert torch.equal(plain, kept.long())


def test_views_write_through(flow):
    own, _ = handed_out(flow)
    label = own.clone()
    label[0][label[0] >= 0] = label[1].unique()[0]  # a class that the script chooses itself
    F.cross_entropy(logits(), label, reduction="none")
    (state,) = states(flow)
    assert (state[0] == OWN).all()
    assert set(state[1].unique().tolist()) == {KEPT, DROPPED}


@pytest.mark.parametrize(
    "loss",
    [
        lambda pred, label: F.one_hot(label, 3).permute(0, 3, 1, 2) * pred,
        lambda pred, label: (label.unsqueeze(1) == torch.arange(3).view(1, 3, 1, 1)).float() * pred,
        lambda pred, label: (
            torch.zeros_like(pred).scatter_(1, label.unsqueeze(1), 1.0) * pred.softmax(1)
        ),
    ],
)
def test_labels_of_one_channel_a_class(flow, loss):
    own, kept = handed_out(flow)
    loss(logits(), own).sum().backward()
    assert torch.equal(flow.meetings[-1].state[:, 0], kept.long())


def test_a_label_of_the_model_is_told_from_one_that_was_handed_out(flow):
    own, _ = handed_out(flow)
    pred = logits()
    nn.CrossEntropyLoss()(pred, pred.detach().argmax(1))
    nn.CrossEntropyLoss()(pred, own)
    assert [meeting.conformal for meeting in flow.meetings] == [False, True]
    assert "test_label_flow.py, line" in flow.meetings[0].where


def test_conformal_pixels_pasted_into_the_models_own_label(flow):
    own, _ = handed_out(flow)
    mixed = logits().detach().argmax(1).clone()
    mixed[:, :, 0] = own[:, :, 0]
    F.cross_entropy(logits(), mixed, reduction="none")
    (state,) = states(flow)
    assert (state[:, :, 1:] == OWN).all()
    assert set(state[:, :, 0].unique().tolist()) == {KEPT, DROPPED}


def test_nothing_is_followed_before_and_after(flow):
    flow.stop()
    own, _ = handed_out(flow)
    nn.CrossEntropyLoss()(logits(), own)
    assert flow.meetings == []


def test_the_result_of_a_call_is_what_it_is_without(flow):
    own, _ = handed_out(flow)
    pred = logits()
    followed = F.cross_entropy(pred, own.clone(), reduction="none")
    flow.stop()
    assert torch.equal(followed, F.cross_entropy(pred, own, reduction="none"))


def test_a_compiled_model_runs_beside_it(flow):
    own, _ = handed_out(flow)
    model = torch.compile(nn.Conv2d(1, 3, 1), backend="eager")
    F.cross_entropy(model(torch.rand(2, 1, 4, 4)), own, reduction="none").sum().backward()
    assert flow.meetings[-1].taught(KEPT)


# The proof.


@pytest.fixture
def proof():
    said = []
    made = FirstSteps(said.append, alone=True)
    made.said = said
    yield made
    made.leave()


def step(proof, train):
    proof.begin()
    labels = torch.randint(0, 3, (2, 4, 4))
    kept = torch.zeros(2, 4, 4, dtype=torch.bool)
    kept[:, :2] = True
    proof.hand_out(labels, kept)
    train(logits(), labels, kept.float())
    proof.end()


def sure(pred, label, conf, threshold=0.9):
    return (F.cross_entropy(pred, label, reduction="none") * (conf >= threshold)).sum()


def test_a_step_that_learns_proves_it_once(proof):
    step(proof, lambda pred, label, conf: sure(pred, label, conf).backward())
    assert not proof.pending
    assert len(proof.said) == 1
    assert proof.said[0].startswith("Conformal: a gradient came back through test_label_flow.py")
    proof.begin()
    assert proof._flow is None  # later steps cost nothing


def test_labels_that_no_loss_reads_stop_the_run(proof):
    with pytest.raises(OptionError, match="taught nothing in this step: no loss that learns has"):
        step(proof, lambda pred, label, conf: pred.sum().backward())


def test_a_loss_that_is_not_trained_on_stops_the_run(proof):
    def train(pred, label, conf):
        sure(pred, label, conf)
        pred.sum().backward()

    match = r"they were read at .*line \d+ \(cross_entropy\), and no gradient came back"
    with pytest.raises(OptionError, match=match):
        step(proof, train)


@pytest.mark.parametrize(
    "train",
    [
        lambda pred, label, conf: sure(pred, label, conf, threshold=0).backward(),
        lambda pred, label, conf: F.cross_entropy(pred, label).backward(),
        lambda pred, label, conf: sure(pred, label, conf, conf.quantile(0.1)).backward(),
    ],
    ids=["a threshold of 0", "no confidence", "a threshold that adapts"],
)
def test_dropped_pixels_that_are_trained_on_stop_the_run(proof, train):
    with pytest.raises(OptionError, match="carry no conformal label are trained on there"):
        step(proof, train)


def test_a_mean_over_labels_that_the_loss_skips_is_right(proof):
    def train(pred, label, conf):
        F.cross_entropy(pred, label.masked_fill(conf == 0, 255), ignore_index=255).backward()

    step(proof, train)
    assert not proof.pending


def test_labels_that_the_script_makes_of_them_stop_the_run(proof):
    def train(pred, label, conf):
        label = label.clone()
        label[conf == 0] = label.flatten().mode().values
        F.cross_entropy(pred, label, reduction="none").sum().backward()

    with pytest.raises(OptionError, match="labels of the script's own, pasted in"):
        step(proof, train)


def test_self_training_that_goes_on_is_named(proof):
    def train(pred, label, conf):
        own = F.cross_entropy(pred, pred.detach().argmax(1))
        (sure(pred, label, conf) + own).backward()

    step(proof, train)
    (line,) = proof.said[1:]
    assert line.startswith(
        "Conformal: in mode replace self-training goes on beside the labels: test_label_flow.py, "
    )
    assert line.endswith(" (cross_entropy), with labels of the script's own")


def test_self_training_that_goes_on_is_named_once(proof):
    """By the step, or by the text of the script where the step shows no such loss."""

    def train(pred, label, conf):
        own = F.cross_entropy(pred, pred.detach().argmax(1))
        (sure(pred, label, conf) + own).backward()

    first = train.__code__.co_firstlineno
    shown, unseen = LossGoingOn("own", (first + 1,)), LossGoingOn("loss_kl", (first + 9,))
    proof.read(__file__, [shown, unseen])
    step(proof, train)
    (line,) = proof.said[1:]
    assert line.count("goes on") == 1
    assert "own (line" not in line
    assert line.endswith(f"; loss_kl (line {first + 9})")


def test_a_batch_without_a_label_proves_nothing_and_stops_nothing(proof):
    proof.begin()
    labels = torch.zeros(2, 4, 4, dtype=torch.int64)
    proof.hand_out(labels, labels.bool())
    proof.end()
    assert proof.pending
    step(proof, lambda pred, label, conf: sure(pred, label, conf).backward())
    assert not proof.pending
