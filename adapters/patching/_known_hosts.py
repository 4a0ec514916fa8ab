"""Collects the recipes of every host module of this package, and finds the traps that they name."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import conformal_plugin.adapters
from conformal_plugin.adapters.patching._recipe import Recipe

__all__ = ["Trap", "find_traps", "known_recipes"]


@dataclass(frozen=True)
class Trap:
    """A line of a host's script that breaks runs.

    Attributes:
        line: its number, from 1.
        text: the line, without its indentation.
        advice: what to do about it.
        sure: whether the config says that it does break this run; False where that is unknown.
    """

    line: int
    text: str
    advice: str
    sure: bool


def known_recipes() -> tuple[Recipe, ...]:
    """The ``RECIPES`` of all modules of ``conformal_plugin.adapters``; importing them loads torch.

    A new host is a new module: there is no list of them to keep.
    """
    modules = pkgutil.iter_modules(conformal_plugin.adapters.__path__, "conformal_plugin.adapters.")
    names = sorted(module.name for module in modules)
    return tuple(
        recipe for name in names for recipe in getattr(importlib.import_module(name), "RECIPES", ())
    )


def find_traps(recipe: Recipe, source: bytes, cfg: Mapping[str, Any]) -> list[Trap]:
    """The traps of ``recipe`` that the script holds and that this config does not rule out."""
    found = []
    for number, line in enumerate(source.splitlines(), start=1):
        text = line.decode("utf-8", errors="replace")
        if text.lstrip().startswith("#"):
            continue
        for expression, advice in recipe.traps:
            match = re.search(expression, text)
            if match is None:
                continue
            known = {name: value for name, value in match.groupdict().items() if name in cfg}
            if known and all(str(cfg[name]) == value for name, value in known.items()):
                continue
            found.append(Trap(number, text.strip(), advice, sure=bool(known)))
    return found
