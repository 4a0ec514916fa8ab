"""Modules of release 0.1.0 that pickles name, and where their contents are now."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

__all__ = ["find_moved_modules"]

_NOW = {
    f"conformal_plugin.{old}": f"conformal_plugin.{new}"
    for old, new in {
        "calibrator": "calibration._calibrator",
        "choosing.choice": "choosing._choice",
        "effective_size": "calibration._effective_size",
        "evaluator": "evaluation._evaluator",
        "grid": "scores._grid",
        "guarantees": "calibration",
        "guarantees.class_conditional": "calibration._class_conditional",
        "guarantees.clustered": "calibration._clustered",
        "guarantees.image_level": "calibration._image_level",
        "guarantees.image_wise": "calibration._image_wise",
        "guarantees.path_counts": "precision._path_counts",
        "guarantees.precision": "precision._calibrator",
        "guarantees.threshold_path": "precision._path",
        "repeats": "scores._repeats",
        "score_rows": "calibration._score_rows",
        "training.criteria": "training._criteria",
        "training.kept_log": "training._kept_log",
        "training.schedule": "training._schedule",
        "training.supervision": "training._supervision",
        "units": "calibration._units",
    }.items()
}


class _MovedModule(Loader):
    """Puts the module of today in the place of the old one."""

    def exec_module(self, module: ModuleType) -> None:
        sys.modules[module.__name__] = importlib.import_module(_NOW[module.__name__])


class _MovedModules(MetaPathFinder):
    """Asked when no module of the old name is found, which unpickling alone looks for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_from_loader(fullname, _MovedModule()) if fullname in _NOW else None


def find_moved_modules() -> None:
    """Let Python find the old modules, once, after all that it finds by itself."""
    if not any(isinstance(finder, _MovedModules) for finder in sys.meta_path):
        sys.meta_path.append(_MovedModules())
