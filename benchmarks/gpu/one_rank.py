"""DistributedDataParallel and all_reduce over NCCL (gloo on a CPU), on the one rank of a group."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from material import ALPHA, QHAT, Size, crops, made
from report import Report
from setting import NO_CUDA, Setting
from student import Student
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from conformal_plugin import Calibrator, ConformalSupervision, Evaluator
from conformal_plugin.processes import _ranks

__all__ = ["run"]

_CLASSES = 21


def run(setting: Setting, report: Report) -> None:
    backend = "nccl" if setting.cuda else "gloo"
    if not setting.cuda:
        report.not_run("NCCL", f"{NO_CUDA}; what follows is gloo")
    with _group(setting, backend):
        _gradients(setting, report)
        _counts(setting, report, backend)


@contextmanager
def _group(setting: Setting, backend: str) -> Iterator[None]:
    if setting.cuda:
        torch.cuda.set_device(torch.device(setting.device).index or 0)
    with tempfile.TemporaryDirectory() as folder:
        dist.init_process_group(
            backend,
            init_method=f"file://{folder}/meeting",
            rank=0,
            world_size=1,
            timeout=timedelta(seconds=30),
        )
        try:
            yield
        finally:
            dist.destroy_process_group()


def _gradients(setting: Setting, report: Report) -> None:
    torch.manual_seed(0)
    student = Student(_CLASSES, width=8).to(setting.device)
    photos, _, pseudo = crops(2, _CLASSES, 33 if setting.small else 129, setting.device)
    batches = {"some pixels": pseudo, "no pixel": torch.full_like(pseudo, 255)}
    alone = {name: _backward(student, photos[2:], given) for name, given in batches.items()}
    devices = [torch.cuda.current_device()] if setting.cuda else None
    parallel = DistributedDataParallel(student, device_ids=devices)
    for name, given in batches.items():
        gradients = _backward(parallel, photos[2:], given)
        # Convolutions on a GPU may add up in another order from call to call.
        close = (torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(alone[name], gradients))
        finite = all(bool(g.isfinite().all()) for g in gradients)
        report.check(f"gradients under DDP, {name} kept", finite and all(close))
        if name == "no pixel":
            zero = all(not bool(g.any()) for g in gradients)
            report.check("gradients under DDP are zero where no pixel is kept", zero)


def _backward(model: nn.Module, photos: Tensor, pseudo: Tensor) -> list[Tensor]:
    supervise = ConformalSupervision(nn.CrossEntropyLoss())
    model.zero_grad()
    supervise(model(photos), pseudo).backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def _counts(setting: Setting, report: Report, backend: str) -> None:
    """One rank has nothing to add up: its counts are sent through the group by hand."""
    side = 32 if setting.small else 256
    maps, labels = made(Size(2, _CLASSES, side, side), torch.float16, setting.device)
    calibrator, evaluator = Calibrator(), Evaluator(QHAT)
    for counted in (calibrator, evaluator):
        counted.update(maps, labels)
    _ranks._agree(calibrator, None, 1)
    travelled = Calibrator.from_state(_ranks._from_rank(0, _ranks._packed(calibrator), None))
    states = calibrator.state(), travelled.state()
    same = all(map(np.array_equal, *(state.values() for state in states)))
    report.check(f"a calibrator's counts broadcast over {backend}", same)
    measured = _ranks._from_rank(0, _ranks._packed(evaluator), None)
    report.check(
        f"an evaluator's counts broadcast over {backend}", measured.result() == evaluator.result()
    )
    qhat = calibrator.result(ALPHA).qhat
    total = calibrator.all_reduce().exact_result_of_ranks(maps, labels, ALPHA)
    report.check("all_reduce keeps one rank's counts", total.qhat == qhat, f"q-hat {qhat}")
    summed = torch.from_numpy(calibrator.state()["credits"]).to(setting.device)
    expected = summed.clone()
    dist.all_reduce(summed)
    report.check(f"a sum of the counts over {backend}", torch.equal(summed, expected))
