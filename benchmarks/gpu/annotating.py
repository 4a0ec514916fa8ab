"""Annotators of transformers on the device: photos alone and together, in mixed precision."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch
from report import Report
from setting import Setting

__all__ = ["run"]

_MODELS = ("segformer-b0", "segformer-b2", "mask2former-swin-tiny")
_TINY = ("segformer", "mask2former")
# Photos together are added up in another order, on some devices in numbers of 11 bits.
_CLOSE = 0.01


def run(setting: Setting, report: Report) -> None:
    for package in ("transformers", "PIL"):
        if importlib.util.find_spec(package) is None:
            report.not_run("all of it", f"{package} is not installed")
            return
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    import annotate_options as options
    import transformers
    from annotate_time import MODELS, TINY

    known, names = (TINY, _TINY) if setting.small else (MODELS, _MODELS)
    some = options.photos(options.SMALL_SIZES if setting.small else options.SIZES)
    ways = [way for way in options.WAYS if not way.compiled]
    report.check("versions", True, f"transformers {transformers.__version__}")
    for name in names:
        found = options.measured(known[name], ways, some, setting.device, 2 if setting.small else 5)
        plain, *_ = found
        for one in found:
            note = f"{one.passes} passes for {len(some)} photos"
            if one is not plain:
                note += f", scores moved by {one.moved(plain):.0e} at most, another class at "
                note += f"{100 * one.other(plain):.2f} % of the pixels"
            report.measured(f"{name}, {one.way.name}, a photo", 1e3 * one.seconds, note=note)
            if one is not plain and one.way.amp is None:
                close = one.moved(plain) < _CLOSE
                report.check(f"{name}, {one.way.name}: the scores of each alone", close)
        if setting.cuda:
            torch.cuda.empty_cache()
