"""The core on the device, beside a copy of the maps and torch's maximum over the classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from material import ALPHA, IGNORE, QHAT, Size, made
from report import Report
from setting import Deadline, Setting, device_path
from timing import medians
from torch import Tensor

from conformal_plugin import calibrate, evaluate, filter, prediction_sets

__all__ = ["run"]

_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_SIZES = (Size(16, 21, 512, 512), Size(4, 150, 512, 683))
_SMALL = (Size(2, 21, 64, 64), Size(1, 150, 64, 64))
_ROUNDS = 20
# What filter and calibrate are to reach of the copy's bytes a second.
_GOAL, _WITH_GOAL = 0.6, ("filter", "calibrate")


def run(setting: Setting, report: Report) -> None:
    deadline = Deadline(setting.seconds)
    sizes = _SMALL if setting.small else _SIZES
    cases = [(dtype, size) for size in sizes for dtype in _DTYPES]
    for dtype, size in cases:
        what = f"{str(dtype).removeprefix('torch.')}, {size.classes} classes"
        if deadline.passed():
            report.not_run(what, "no time was left for it")
            continue
        maps, labels = made(size, dtype, setting.device)
        with device_path(setting):
            times = medians(
                _functions(maps, labels),
                setting,
                3 if setting.small else _ROUNDS,
                setting.seconds / len(cases) / 2,
            )
        _report(setting, report, what, times, maps.nbytes)
        del maps, labels


def _functions(maps: Tensor, labels: Tensor) -> Mapping[str, Callable[[], Any]]:
    index = torch.where(labels == IGNORE, 0, labels).long()[:, None]
    copy = torch.empty_like(maps)
    return {
        "copy": lambda: copy.copy_(maps),
        "torch.max": lambda: maps.max(dim=1),
        "torch.gather": lambda: maps.gather(1, index),
        "filter": lambda: filter(maps, QHAT),
        "prediction_sets": lambda: prediction_sets(maps, QHAT),
        "calibrate": lambda: calibrate(maps, labels, ALPHA),
        "evaluate": lambda: evaluate(maps, labels, QHAT),
    }


def _report(
    setting: Setting, report: Report, what: str, times: Mapping[str, float], size: int
) -> None:
    """The copy reads and writes, so that it moves twice the maps' bytes; others go through them."""
    moved = 2 * size / times["copy"]
    for name, took in times.items():
        share = None if name == "copy" else size / took / moved
        note = f"{moved / 1e6:.1f} GB a second" if name == "copy" else ""
        if share is not None and name in _WITH_GOAL and setting.cuda and not setting.small:
            note = f"goal {100 * _GOAL:.0f} %: {'met' if share >= _GOAL else 'missed'}"
        of_max = took / times["torch.max"]
        report.measured(f"{name}, {what}", took, of_copy=share, of_max=of_max, note=note)
