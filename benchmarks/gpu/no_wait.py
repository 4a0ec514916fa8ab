"""Whether a training step with the term waits for the device: torch is told to refuse it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from material import crops
from report import Report
from setting import NO_CUDA, Setting
from student import Student
from torch import Tensor, nn
from torch.nn import functional as F

from conformal_plugin import ConformalSupervision, TwoStage, cutmix
from conformal_plugin._choices import RULES

__all__ = ["run"]

_CLASSES = 21
Step = Callable[[], None]


def run(setting: Setting, report: Report) -> None:
    photos, _, pseudo = crops(2, _CLASSES, 33 if setting.small else 129, setting.device)
    student = Student(_CLASSES, width=8).to(setting.device)
    optimizer = torch.optim.AdamW(student.parameters())
    F.cross_entropy(student(photos[2:]), pseudo, ignore_index=255).backward()
    optimizer.step()  # what is looked up and allocated once
    if setting.cuda:
        with _refusing(setting), _expecting_refusal(report):
            pseudo.sum().item()
    else:
        report.not_run("a wait is noticed", NO_CUDA)
    for what, step in _steps(student, optimizer, photos[2:], pseudo):
        try:
            with _refusing(setting):
                step()
        except RuntimeError as error:
            report.check(what, False, str(error))
        else:
            if setting.cuda:
                report.check(what, True)
            else:
                report.not_run(what, f"{NO_CUDA}; the step itself ran")


@contextmanager
def _refusing(setting: Setting) -> Iterator[None]:
    """Make waiting for the device an error."""
    if not setting.cuda:
        yield
        return
    torch.cuda.synchronize(setting.device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@contextmanager
def _expecting_refusal(report: Report) -> Iterator[None]:
    refused = ""
    try:
        yield
    except RuntimeError as error:
        refused = str(error)
    report.check("a wait is noticed", bool(refused), refused)


def _steps(
    student: nn.Module, optimizer: torch.optim.Optimizer, photos: Tensor, pseudo: Tensor
) -> Iterator[tuple[str, Step]]:
    valid = torch.ones_like(pseudo, dtype=torch.bool)
    valid[:, :2] = False
    scores = student(photos).detach().softmax(1)
    thresholds = {"one threshold": 0.6, "one per class": [0.3 + 0.02 * c for c in range(_CLASSES)]}

    def steps(supervise: ConformalSupervision, given: Tensor, epochs: range) -> Step:
        def run() -> None:
            for epoch in epochs:
                optimizer.zero_grad()
                supervise(student(photos), given, epoch=epoch, valid=valid).backward()
                optimizer.step()

        return run

    for name, criterion in {"CrossEntropyLoss": nn.CrossEntropyLoss(), "a scalar": _scalar}.items():
        for denominator in ("valid", "kept"):
            supervise = ConformalSupervision(
                criterion, schedule=TwoStage(2, 4), denominator=denominator
            )
            what = f"{name}, denominator {denominator}, both stages"
            yield what, steps(supervise, pseudo, range(4))
            nothing = torch.full_like(pseudo, 255)
            yield f"{what}, nothing kept", steps(supervise, nothing, range(2))
    for rule in RULES:
        for name, qhat in thresholds.items():
            supervise = ConformalSupervision(nn.CrossEntropyLoss(), calibration=qhat, rule=rule)
            yield f"scores, {rule}, {name}", steps(supervise, scores, range(2))
    yield "cutmix", lambda: _mix(scores, pseudo, valid)


def _scalar(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, ignore_index=255)


def _mix(scores: Tensor, pseudo: Tensor, valid: Tensor) -> None:
    cutmix(scores, scores.flip(0), valid)
    cutmix(pseudo, pseudo.flip(0), valid)
