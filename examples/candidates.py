"""Candidates for a recipe that is better than a choice of labels, each a way to train a student."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from known import Known, most_probable, of_choice
from material import IGNORE
from quick_student import Teacher, scores_of, taught
from rehearsal import FOLDS, gain_of, left_out, one_of
from scipy.optimize import isotonic_regression
from torch import Tensor, nn

from conformal_plugin import Choice, calibrate, calibrate_class_conditional, choose
from conformal_plugin.choosing import MIN_IMAGES
from conformal_plugin.combining import Combination, fit_stack

__all__ = ["CANDIDATES"]

SURE = 0.95
MOST_OF_SHARE = 1.5
KEEP = 0.98
"""Of the moving average, a step: short, as the trainings are."""

Bytes = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.floating]


Candidate = Callable[[Known, int], nn.Module]


# Sets


def _sets(known: Known, seed: int, alpha: float, per_class: bool, objects: bool) -> nn.Module:
    truth = known.labelled.truth
    if per_class:
        found = calibrate_class_conditional(known.scores, truth, alpha, min_images=MIN_IMAGES)
    else:
        found = calibrate(known.scores, truth, alpha)
    return known.train(_of_sets(known, found.qhat, objects), seed)


def _of_sets(known: Known, qhat: Any, objects: bool) -> Teacher | None:
    member = 1 - _flat(known.others) <= torch.tensor(np.array(qhat)).float()
    if objects and known.background is not None:
        holds_object = member.sum(1) - member[:, known.background].long() > 0
        member[:, known.background] &= ~holds_object
    size = member.sum(1)
    says = (size > 0) & (size < known.classes)
    if not bool(says.any()):
        return None

    def teacher(student: nn.Module, logits: Tensor, which: Tensor, progress: float) -> Tensor:
        taken = says[which]
        if not bool(taken.any()):
            return logits.sum() * 0
        logs = F.log_softmax(logits[taken], 1).masked_fill(~member[which][taken], -torch.inf)
        return -logs.logsumexp(1).mean()

    return teacher


# Weights


@lru_cache(maxsize=1)
def _p_values(known: Known, per_class: bool) -> Tensor:
    """Of every class at every unlabelled point, ``(points, K)``."""
    return _p_values_of(_flat(known.others), known, per_class)


def _p_values_of(others: Tensor, known: Known, per_class: bool) -> Tensor:
    scores, truth = _flat(known.scores), _flat_maps(known.labelled.truth)
    kept = truth != IGNORE
    scores, truth = scores[kept], truth[kept]
    right = scores.gather(1, truth[:, None])[:, 0]
    photos = torch.cat([torch.full((one.size,), i) for i, one in enumerate(known.labelled.truth)])
    photos = photos[kept]
    found = torch.empty_like(others)
    for c in range(known.classes):
        own = right[truth == c] if per_class else right
        if per_class and len(photos[truth == c].unique()) < MIN_IMAGES:
            own = right
        ordered = own.sort().values
        below = torch.searchsorted(ordered, others[:, c].contiguous(), right=True)
        found[:, c] = (below + 1) / (len(ordered) + 1)
    return found


def _weighted(given: Tensor, weights: Tensor) -> Teacher:
    def teacher(student: nn.Module, logits: Tensor, which: Tensor, progress: float) -> Tensor:
        each = F.cross_entropy(logits, given[which], ignore_index=IGNORE, reduction="none")
        weight = weights[which] * (given[which] != IGNORE)
        return (weight * each).sum() / weight.sum().clamp_min(1e-6)

    return teacher


def _weighted_raw(known: Known, seed: int) -> nn.Module:
    given = _flat(known.others).argmax(1)
    values = _p_values(known, per_class=False).gather(1, given[:, None])[:, 0]
    return known.train(_weighted(given, values), seed)


def _weighted_default(known: Known, seed: int) -> nn.Module:
    return _default_by(known, seed, lambda label, values: values)


def _weighted_evenly(known: Known, seed: int) -> nn.Module:
    return _default_by(known, seed, _even)


def _even(label: Tensor, values: Tensor) -> Tensor:
    """Values over the mean of those of their label: no class gains on another."""
    kept = label != IGNORE
    label = torch.where(kept, label, 0)
    counts = torch.bincount(label[kept]).clamp_min(1)
    means = torch.bincount(label[kept], values[kept].double()) / counts
    return torch.where(kept, values / means[label].float(), 0)


def _default_by(known: Known, seed: int, weigh: Callable[[Tensor, Tensor], Tensor]) -> nn.Module:
    """The default's labels, weighted by what ``weigh`` makes of them and of their p-values."""
    if known.default is None:
        return known.train(None, seed)
    given = _flat_maps(known.default)
    label = torch.where(given == IGNORE, 0, given)
    values = _p_values(known, per_class=True).gather(1, label[:, None])[:, 0]
    return known.train(_weighted(given, weigh(given, values)), seed)


def _thinned_default(known: Known, seed: int) -> nn.Module:
    """Each label kept with its p-value as the probability, drawn once: weights as plain labels."""
    if known.default is None:
        return known.train(None, seed)
    given = _flat_maps(known.default)
    label = torch.where(given == IGNORE, 0, given)
    values = _p_values(known, per_class=True).gather(1, label[:, None])[:, 0]
    drawn = torch.rand(len(given), generator=torch.Generator().manual_seed(seed))
    given[drawn > values] = IGNORE
    return known.train(_weighted(given, torch.ones(len(given))), seed)


def _thinned_evenly(known: Known, seed: int) -> nn.Module:
    """The same with even weights, half of each as the probability; means of labelled points."""
    if known.default is None:
        return known.train(None, seed)
    mine = _flat_maps(of_choice(known.choice, known.scores) or [])
    means = _means(mine, _p_of(known.scores, known, mine), known.classes)
    given = _flat_maps(known.default)
    values = _p_of(known.others, known, given)
    stays = values / means[torch.where(given == IGNORE, 0, given)] / 2
    drawn = torch.rand(len(given), generator=torch.Generator().manual_seed(seed))
    given[drawn > stays] = IGNORE
    return known.train(_weighted(given, torch.ones(len(given))), seed)


def _p_of(maps: Sequence[Scores], known: Known, given: Tensor) -> Tensor:
    label = torch.where(given == IGNORE, 0, given)
    return _p_values_of(_flat(maps), known, per_class=True).gather(1, label[:, None])[:, 0]


def _means(label: Tensor, values: Tensor, classes: int) -> Tensor:
    """Of the values by label; one half where there is no label."""
    kept = label != IGNORE
    counts = torch.bincount(label[kept], minlength=classes)
    sums = torch.bincount(label[kept], values[kept].double(), minlength=classes)
    return torch.where(counts > 0, sums / counts.clamp_min(1), 0.5).float()


def _weighted_by_right(known: Known, seed: int) -> nn.Module:
    """Weights are shares of right labels among the labelled points, rising with the score."""
    if known.default is None:
        return known.train(None, seed)
    made = of_choice(known.choice, known.scores) or []
    label, truth = _flat_maps(made), _flat_maps(known.labelled.truth)
    counted = (label != IGNORE) & (truth != IGNORE)
    scores = _flat(known.scores)[counted]
    label, right = label[counted], (label == truth)[counted].double()
    mine = scores.gather(1, label[:, None])[:, 0]
    photos = torch.cat([torch.full((one.size,), i) for i, one in enumerate(made)])[counted]
    given, others = _flat_maps(known.default), _flat(known.others)
    weights = torch.zeros(len(given))
    for c in range(known.classes):
        own = label == c
        if len(photos[own].unique()) < MIN_IMAGES:
            own = torch.ones_like(own)
        order = mine[own].argsort()
        share = isotonic_regression(right[own][order].numpy()).x
        at = others[given == c, c].numpy()
        weights[given == c] = torch.from_numpy(
            np.interp(at, mine[own][order].numpy(), share)
        ).float()
    return known.train(_weighted(given, weights), seed)


def _soft(targets: Tensor) -> Teacher:
    return lambda student, logits, which, progress: F.cross_entropy(logits, targets[which])


def _shares_of_p_values(known: Known, seed: int) -> nn.Module:
    values = _p_values(known, per_class=True)
    return known.train(_soft(values / values.sum(1, keepdim=True)), seed)


def _balanced(known: Known, seed: int) -> nn.Module:
    if known.default is None:
        return known.train(None, seed)
    given, values = _flat_maps(known.default), _p_values(known, per_class=True)
    truth = _flat_maps(known.labelled.truth)
    shares = torch.bincount(truth[truth != IGNORE], minlength=known.classes).double()
    most = (MOST_OF_SHARE * shares / shares.sum() * len(given)).long()
    for c in range(known.classes):
        mine = (given == c).nonzero()[:, 0]
        if len(mine) > most[c]:
            order = values[mine, c].argsort(descending=True)
            given[mine[order[int(most[c]) :]]] = IGNORE
    return known.train(_weighted(given, torch.ones(len(given))), seed)


# The student's own labels


def _stage_two(known: Known, seed: int, way: str) -> nn.Module:
    first = known.train_labels(known.default, seed)
    own = scores_of(first, known.unlabelled)
    if way == "conformal":
        students = enumerate(left_out(known, known.default))
        mine = [scores_of(s, one_of(known.labelled, i))[0] for i, s in students]
        choice = choose(mine, list(known.labelled.truth), background=known.background)
        return known.train_labels(of_choice(choice, own), seed)
    least = SURE if way == ".95" else 0.0
    return known.train_labels([most_probable(one, least) for one in own], seed)


def _own(known: Known, seed: int, share: Callable[[float], float]) -> nn.Module:
    """``share`` of the loss, by progress, is of the average's own labels."""
    if known.default is None:
        return known.train(None, seed)
    features = torch.cat(list(known.unlabelled.features)).float()
    first = taught(known.default)
    average: list[nn.Module] = []

    def teacher(student: nn.Module, logits: Tensor, which: Tensor, progress: float) -> Tensor:
        if not average:
            average.append(copy.deepcopy(student).eval())
        with torch.no_grad():
            for kept, new in zip(average[0].state_dict().values(), student.state_dict().values()):
                kept.copy_(kept * KEEP + new * (1 - KEEP) if kept.is_floating_point() else new)
        part = share(progress)
        if part == 0:
            return first(student, logits, which, progress)
        with torch.no_grad():
            sure, label = average[0](features[which]).softmax(1).max(1)
        label[sure < SURE] = IGNORE
        if bool((label != IGNORE).any()):
            own = F.cross_entropy(logits, label, ignore_index=IGNORE)
        else:
            own = logits.sum() * 0
        return part * own + (1 - part) * first(student, logits, which, progress)

    return known.train(teacher, seed)


# A stack of the annotator alone


def _stack(scores: Sequence[Scores], truth: Sequence[Bytes]) -> Combination:
    return fit_stack((str(i), [one], mask) for i, (one, mask) in enumerate(zip(scores, truth)))


def _stacked(known: Known) -> list[Scores]:
    stack = _stack(known.scores, known.labelled.truth)
    return [stack([one]) for one in known.others]


def _stack_raw(known: Known, seed: int) -> nn.Module:
    return known.train_labels([most_probable(one) for one in _stacked(known)], seed)


def _stack_soft(known: Known, seed: int) -> nn.Module:
    return known.train(_soft(_flat(_stacked(known))), seed)


def _stack_halves(known: Known, seed: int) -> nn.Module:
    half = len(known.scores) // 2
    stack = _stack(known.scores[:half], known.labelled.truth[:half])
    scores, truth = (part[half:] for part in known.coarse)
    choice = choose([stack([one]) for one in scores], truth, background=known.background)
    maps = of_choice(choice, [stack([one]) for one in known.others])
    return known.train_labels(maps, seed)


@lru_cache(maxsize=1)
def _crossed(known: Known) -> Choice:
    stacks = []
    for fold in range(FOLDS):
        mine = [i for i in range(len(known.scores)) if i % FOLDS != fold]
        stacks.append(
            _stack([known.scores[i] for i in mine], [known.labelled.truth[i] for i in mine])
        )
    scores = [stacks[i % FOLDS]([one]) for i, one in enumerate(known.coarse[0])]
    return choose(scores, known.coarse[1], background=known.background)


def _stack_crossed(known: Known, seed: int) -> nn.Module:
    return known.train_labels(of_choice(_crossed(known), _stacked(known)), seed)


def _default_or_stack(known: Known, seed: int) -> nn.Module:
    choice = _crossed(known)
    if choice.proposed.information > known.choice.proposed.information:
        return known.train_labels(of_choice(choice, _stacked(known)), seed)
    return known.train_labels(known.default, seed)


@lru_cache(maxsize=1)
def _worth_using(known: Known) -> bool:
    gain, error = gain_of(known, known.default)
    return gain > error / 2


def _rehearsed(known: Known, seed: int) -> nn.Module:
    return known.train_labels(known.default if _worth_using(known) else None, seed)


def _flat(maps: Sequence[Scores]) -> Tensor:
    """Scores of all points, ``(points, K)``."""
    return torch.cat([torch.from_numpy(np.asarray(one, np.float32)).flatten(1).T for one in maps])


def _flat_maps(maps: Sequence[Bytes]) -> Tensor:
    return torch.from_numpy(np.concatenate([one.ravel() for one in maps])).long()


CANDIDATES: dict[str, Candidate] = {
    "sets .05": lambda known, seed: _sets(known, seed, 0.05, False, False),
    "sets .05, objects": lambda known, seed: _sets(known, seed, 0.05, False, True),
    "sets per class .05": lambda known, seed: _sets(known, seed, 0.05, True, False),
    "sets per class .1": lambda known, seed: _sets(known, seed, 0.1, True, False),
    "weighted raw": _weighted_raw,
    "weighted default": _weighted_default,
    "thinned default": _thinned_default,
    "weighted evenly": _weighted_evenly,
    "thinned evenly": _thinned_evenly,
    "weighted by half": lambda known, seed: _default_by(known, seed, lambda _, p: (1 + p) / 2),
    "weighted by right": _weighted_by_right,
    "p-values": _shares_of_p_values,
    "balanced": _balanced,
    "stage II raw": lambda known, seed: _stage_two(known, seed, "raw"),
    "stage II .95": lambda known, seed: _stage_two(known, seed, ".95"),
    "stage II conformal": lambda known, seed: _stage_two(known, seed, "conformal"),
    "switch": lambda known, seed: _own(known, seed, lambda progress: float(progress >= 0.5)),
    "fade": lambda known, seed: _own(known, seed, lambda progress: progress),
    "stack raw": _stack_raw,
    "stack soft": _stack_soft,
    "stack halves": _stack_halves,
    "stack crossed": _stack_crossed,
    "default or stack": _default_or_stack,
    "rehearsed": _rehearsed,
}
