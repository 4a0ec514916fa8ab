"""The term under torch.compile: one graph, and the numbers of the term without it."""

from __future__ import annotations

import importlib.util
import shutil

import torch
from material import crops
from report import Report
from setting import Deadline, Setting
from torch import Tensor, nn
from torch.nn import functional as F

from conformal_plugin import ConformalSupervision
from conformal_plugin._choices import RULES

__all__ = ["run"]

_CLASSES = 21


def run(setting: Setting, report: Report) -> None:
    backend = _backend(setting, report)
    if backend is None:
        return
    deadline = Deadline(setting.seconds)
    _, _, pseudo = crops(2, _CLASSES, 17 if setting.small else 65, setting.device)
    draw = torch.Generator(setting.device).manual_seed(0)
    shape = (2, _CLASSES, *pseudo.shape[1:])
    logits = torch.randn(shape, generator=draw, device=setting.device)
    scores = (4 * torch.randn(shape, generator=draw, device=setting.device)).softmax(1)
    per_class = [0.3 + 0.02 * c for c in range(_CLASSES)]
    supervisions = {
        "label maps": (ConformalSupervision(nn.CrossEntropyLoss()), pseudo),
        "label maps, a scalar": (ConformalSupervision(_scalar), pseudo),
        **{
            f"scores, {rule}": (
                ConformalSupervision(nn.CrossEntropyLoss(), calibration=0.6, rule=rule),
                scores,
            )
            for rule in RULES
        },
        "scores, thresholds per class": (
            ConformalSupervision(nn.CrossEntropyLoss(), calibration=per_class),
            scores,
        ),
    }
    names = list(supervisions)
    for name in names[:: len(names) - 1] if setting.small else names:
        supervise, given = supervisions[name]
        what = f"{name}, {backend}"
        if deadline.passed():
            report.check(what, False, "no time was left for it")
            continue
        try:
            report.check(what, *_compare(supervise, logits, given, backend))
        except Exception as error:  # of many kinds, from inside the compiler
            report.check(what, False, f"{type(error).__name__}: {str(error)[:400]}")


def _backend(setting: Setting, report: Report) -> str | None:
    if not setting.cuda:
        report.not_run("inductor", "no CUDA device; what follows is traced and not compiled")
        return "aot_eager"
    if importlib.util.find_spec("triton") is None:
        report.not_run("inductor", "no Triton")
        return None
    if not any(map(shutil.which, ("cc", "gcc", "clang"))):
        report.not_run("inductor", "no C compiler, which Triton needs")
        return None
    return "inductor"


def _compare(
    supervise: ConformalSupervision, logits: Tensor, given: Tensor, backend: str
) -> tuple[bool, str]:
    torch._dynamo.reset()
    compiled = torch.compile(supervise, fullgraph=True, backend=backend)
    found = []
    for call in (supervise, compiled):
        leaf = logits.detach().clone().requires_grad_()
        supervise.reset()
        term = call(leaf, given)
        term.backward()
        found.append((term.detach(), leaf.grad, supervise.summary()["kept_pixels_per_class"]))
    (term, gradient, kept), (term_after, gradient_after, kept_after) = found
    close = torch.allclose(term, term_after, rtol=1e-5)
    alike = torch.allclose(gradient, gradient_after, rtol=1e-4, atol=1e-8)
    note = f"term {term.item():.6f} and {term_after.item():.6f}, {sum(kept)} pixels kept"
    return close and alike and kept == kept_after, note


def _scalar(logits: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(logits, target, ignore_index=255)
