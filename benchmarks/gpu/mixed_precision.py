"""Training under autocast in float16, with a GradScaler, and in bfloat16."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from material import IGNORE, crops
from report import Report
from setting import Setting
from student import Student
from torch import Tensor, nn

from conformal_plugin import ConformalSupervision

__all__ = ["run"]

_CLASSES, _STEPS = 21, 12
# Sums over many pixels, added up in another order.
_CLOSE = 1e-4


def run(setting: Setting, report: Report) -> None:
    crop = 33 if setting.small else 321
    photos, _, pseudo = crops(2, _CLASSES, crop, setting.device)
    for dtype in (torch.float16, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        if lacking := _lacking(setting, dtype, photos[2:]):
            report.not_run(name, lacking)
            continue
        _term(setting, report, name, dtype, pseudo)
        _training(setting, report, name, dtype, photos[2:], pseudo)


def _lacking(setting: Setting, dtype: torch.dtype, photos: Tensor) -> str:
    """Why the device cannot run the student in that type, or nothing."""
    student = Student(_CLASSES, width=8).to(setting.device)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with torch.autocast(torch.device(setting.device).type, dtype):
                student(photos)
    except RuntimeError as error:
        return str(error)
    return ""


def _term(setting: Setting, report: Report, name: str, dtype: torch.dtype, pseudo: Tensor) -> None:
    shape = (pseudo.shape[0], _CLASSES, *pseudo.shape[1:])
    draw = torch.Generator(setting.device).manual_seed(0)
    logits = (8 * torch.randn(shape, generator=draw, device=setting.device)).to(dtype)
    logits.requires_grad_()
    supervise = ConformalSupervision(nn.CrossEntropyLoss())
    with torch.autocast(torch.device(setting.device).type, dtype):
        term = supervise(logits, pseudo)
    expected = supervise(logits.detach().float(), pseudo).item()
    report.check(f"the term of {name} logits is a float32", term.dtype == torch.float32)
    off = abs(term.item() / expected - 1)
    report.check(f"the term of {name} logits is that of float32 ones", off < _CLOSE, f"{off:.1e}")
    (2.0**14 * term).backward()
    gradient = logits.grad
    finite = gradient is not None and bool(gradient.isfinite().all())
    report.check(f"its gradients are finite at a scale of 2**14, {name}", finite)


def _training(
    setting: Setting, report: Report, name: str, dtype: torch.dtype, photos: Tensor, pseudo: Tensor
) -> None:
    torch.manual_seed(0)
    student = Student(_CLASSES, width=8).to(setting.device)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-3)
    supervise = ConformalSupervision(nn.CrossEntropyLoss(ignore_index=IGNORE))
    scaler = _scaler(setting, enabled=dtype == torch.float16)

    def step(photos: Tensor) -> float:
        optimizer.zero_grad()
        with torch.autocast(torch.device(setting.device).type, dtype):
            term = supervise(student(photos), pseudo)
        scaler.scale(term).backward()
        scaler.step(optimizer)
        scaler.update()
        return term.item()

    losses = [step(photos) for _ in range(_STEPS)]
    note = f"{losses[0]:.3f} to {losses[-1]:.3f}"
    report.check(f"{_STEPS} steps lower the loss, {name}", losses[-1] < losses[0], note)
    if scaler.is_enabled():
        before = [p.detach().clone() for p in student.parameters()]
        scale = scaler.get_scale()
        step(torch.full_like(photos, float("inf")))
        same = all(map(torch.equal, before, student.parameters()))
        halved = scaler.get_scale() == scale / 2
        report.check(f"a step that overflows is left out, {name}", same and halved)


def _scaler(setting: Setting, *, enabled: bool) -> Any:
    kind = torch.device(setting.device).type
    if hasattr(torch.amp, "GradScaler"):
        return torch.amp.GradScaler(kind, enabled=enabled)
    return torch.cuda.amp.GradScaler(enabled=enabled and setting.cuda)  # before torch 2.3
