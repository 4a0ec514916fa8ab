"""What the term adds to a training step: a labelled and an unlabelled half, at hosts' crops."""

from __future__ import annotations

from collections.abc import Callable

import torch
from material import IGNORE, crops
from report import Report
from setting import Deadline, Setting
from student import Student
from timing import medians
from torch import Tensor, nn

from conformal_plugin import ConformalSupervision

__all__ = ["run"]

_CLASSES, _IMAGES = 21, 8
Term = Callable[[Tensor, Tensor], Tensor]


def run(setting: Setting, report: Report) -> None:
    deadline = Deadline(setting.seconds)
    sizes = (33,) if setting.small else (321, 513)
    for crop in sizes:
        if deadline.passed():
            report.not_run(f"crop {crop}", "no time was left for it")
            continue
        _measure(setting, report, crop, setting.seconds / len(sizes) / 2)


def _measure(setting: Setting, report: Report, crop: int, seconds: float) -> None:
    images = 2 if setting.small else _IMAGES
    photos, truth, pseudo = crops(images, _CLASSES, crop, setting.device)
    criterion = nn.CrossEntropyLoss(ignore_index=IGNORE)
    supervise = ConformalSupervision(criterion)
    # One student for both, so that nothing but the term differs.
    student = Student(_CLASSES).to(setting.device)
    optimizer = torch.optim.SGD(student.parameters(), lr=1e-6, momentum=0.9)
    shape = (images, _CLASSES, crop, crop)
    given = torch.randn(shape, device=setting.device, requires_grad=True)

    def step(term: Term) -> Callable[[], None]:
        def run() -> None:
            logits = student(photos)
            loss = criterion(logits[:images], truth) + term(logits[images:], pseudo)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

        return run

    def alone(term: Term) -> Callable[[], None]:
        def run() -> None:
            given.grad = None
            term(given, pseudo).backward()

        return run

    times = medians(
        {
            "step, cross_entropy": step(criterion),
            "step, ConformalSupervision": step(supervise),
            "cross_entropy alone": alone(criterion),
            "ConformalSupervision alone": alone(supervise),
        },
        setting,
        3 if setting.small else 30,
        seconds,
    )
    plain = times["step, cross_entropy"]
    for name, took in times.items():
        report.measured(f"{name}, crop {crop}", took, note=f"{took / plain:.3f} of the plain step")
    added = times["ConformalSupervision alone"] - times["cross_entropy alone"]
    note = f"{100 * added / plain:.1f} % of the plain step"
    report.measured(f"what the term adds, crop {crop}", added, note=note)
