"""Which device, driver and versions this is; nothing else can run where this fails."""

from __future__ import annotations

import platform

import numpy as np
import torch
from report import Report
from setting import Setting

__all__ = ["run"]


def run(setting: Setting, report: Report) -> None:
    versions = f"torch {torch.__version__}, NumPy {np.__version__}, Python "
    report.check("versions", True, versions + platform.python_version())
    torch.zeros(1, device=setting.device)
    if not setting.cuda:
        report.not_run("all that needs CUDA", f"no CUDA device was asked for: {setting.device}")
        return
    properties = torch.cuda.get_device_properties(setting.device)
    report.check(
        "device",
        True,
        f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB, "
        f"{properties.multi_processor_count} multiprocessors, CUDA {torch.version.cuda}",
    )
