"""What is public: the pages of the reference and the names on each."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from api_signatures import constant_docstring

import conformal_plugin

__all__ = ["HIDDEN", "PAGES", "Entry", "Page", "Reference", "collect", "slug"]


@dataclass(frozen=True)
class Page:
    """One page of the reference.

    Attributes:
        title: its heading.
        about: what is found there, in a sentence or two of Markdown.
        package: whose modules it covers; empty for the top level.
        inner: modules of that package, or names ``module.name``, that are not for users.
        only: of the top level: modules, or names ``module.name``, beyond the package's ``__all__``.
    """

    title: str
    about: str
    package: str = ""
    inner: frozenset[str] = frozenset()
    only: tuple[str, ...] = ()


PAGES = {
    "core": Page(
        "The core",
        "Scores in, thresholds, labels and measurements out. What the result promises, and what it "
        "does not: [guarantees](../guarantees.md).",
        only=("counting.ScoreCounter", "calibration.conformal_rank", "calibration.images_needed"),
    ),
    "guarantees": Page(
        "Guarantees",
        "Calibrations with other promises than the pooled pixels' of `calibrate`; "
        "[guarantees](../guarantees.md) says which to choose.",
        "guarantees",
        frozenset({"path_counts", "precision_target", "wording", "bounds.check_share"}),
    ),
    "choosing": Page(
        "Choosing",
        "Alpha and the rule from the labelled images: [choosing](../choosing.md).",
        "choosing",
        frozenset({"fold_thresholds", "label_counts", "measures", "wish"}),
    ),
    "reporting": Page(
        "Reporting",
        "The HTML report in parts. `conformal-plugin report` puts them together.",
        "reporting",
        frozenset({"halves", "svg", "png", "colours"}),
    ),
    "training": Page(
        "Training",
        "The conformal term of a loss, its two stages, and CutMix.",
        "training",
        frozenset({"batch_checks", "device_values", "criteria.ignored_label"})
        | {"criteria.without_mean", "kept_log.KeptLog", "schedule.check_epoch"},
    ),
    "testing": Page(
        "Testing",
        "Laws and assertions for a test suite of your own, hypothesis strategies, and the pytest "
        "plugin with its fixture `coverage`.",
        "testing",
        frozenset({"exchangeability", "images.COINCIDENCE", "images.checked_coverage"})
        | {"images.require_exchangeable", "images.require_losses", "laws.LOWEST_RATE"}
        | {"laws.checked_count", "laws.checked_rate", "laws.covered_cdf"}
        | {"plugin.pytest_addoption"},
    ),
    "annotators": Page(
        "Annotators",
        "From photos to class scores: [annotators](../annotators.md).",
        "annotators",
        frozenset({"stream", "background.check_background_rule"}) | {"protocol.check_maps"},
    ),
    "files": Page(
        "Files",
        "Score maps, label maps and id lists on disk.",
        "files",
        frozenset({"extras", "store_codec", "ids.checked_id", "labels.opened_image"}),
    ),
    "adapters": Page(
        "Adapters",
        "The hosts, what a new one is made of ([new-host](../new-host.md)), and the edit of a "
        "script.",
        "adapters",
        frozenset({"bindings", "placing", "script_files", "streams", "host_scripts"}),
    ),
    "errors": Page(
        "Errors", "Every exception that the package raises on purpose.", only=("errors",)
    ),
}
"""The pages by file name, in the order of the index."""

HIDDEN = frozenset({"RECIPES"})
"""Names that each module of a kind has, for the modules that collect them."""


@dataclass
class Entry:
    """A public name."""

    name: str
    path: str  # as a user imports it
    module: ModuleType
    value: Any
    page: str

    @property
    def docstring(self) -> str:
        """The one in the source: of a class its own, of a constant the string below it."""
        if inspect.isclass(self.value):
            return str(vars(self.value).get("__doc__") or "")
        if self.is_function:
            return inspect.getdoc(self.value) or ""
        return constant_docstring(self.module, self.name)

    @property
    def is_function(self) -> bool:
        """Whether it is called; a fixture of pytest is, though recent releases wrap it."""
        return inspect.isroutine(self.value) or "fixture" in type(self.value).__name__.lower()

    @property
    def anchor(self) -> str:
        """The heading's anchor on the web host."""
        return slug(self.name)

    @property
    def link(self) -> str:
        """Where it is described, seen from another page."""
        return f"{self.page}.md#{self.anchor}"


@dataclass
class Reference:
    """All that is public, and what is wrong with its docstrings."""

    entries: list[Entry] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def of(self, value: Any) -> Entry | None:
        """The entry of an object."""
        return next((entry for entry in self.entries if entry.value is value), None)

    def on(self, page: str) -> list[Entry]:
        """The entries of a page."""
        return [entry for entry in self.entries if entry.page == page]


def slug(heading: str) -> str:
    """The anchor that the web host gives a heading."""
    text = re.sub(r"[^\w\- ]", "", heading.lower())
    return text.replace(" ", "-")


def collect() -> Reference:
    """Import what is public."""
    reference = Reference()
    for page, plan in PAGES.items():
        found = _of_package(plan) if plan.package else _of_top_level(plan, whole=page == "core")
        for module, name in found:
            value = getattr(module, name)
            origin = importlib.import_module(getattr(value, "__module__", "") or module.__name__)
            if not origin.__name__.startswith("conformal_plugin") or not hasattr(origin, name):
                origin = module  # a constant or an alias
            if name in HIDDEN or (_has_identity(value) and reference.of(value)):
                continue
            reference.entries.append(Entry(name, _public_path(name, origin), origin, value, page))
    return reference


def _has_identity(value: Any) -> bool:
    return inspect.isclass(value) or inspect.isroutine(value)


def _of_top_level(plan: Page, *, whole: bool) -> Iterator[tuple[ModuleType, str]]:
    if whole:
        for name in conformal_plugin.__all__:
            value = getattr(conformal_plugin, name)
            module = getattr(value, "__module__", "")
            if module.count(".") == 1:
                yield importlib.import_module(module), name
    for chosen in plan.only:
        stem, _, name = chosen.partition(".")
        module = importlib.import_module(f"conformal_plugin.{stem}")
        for one in [name] if name else module.__all__:
            yield module, one


def _of_package(plan: Page) -> Iterator[tuple[ModuleType, str]]:
    package = importlib.import_module(f"conformal_plugin.{plan.package}")
    stems = {one.name for one in pkgutil.iter_modules(package.__path__)}
    unknown = {one.split(".")[0] for one in plan.inner} - stems
    if unknown:
        raise ValueError(f"{plan.package} has no module {', '.join(sorted(unknown))}: see PAGES")
    for stem in sorted(stems - plan.inner):
        module = importlib.import_module(f"{package.__name__}.{stem}")
        for name in module.__all__:
            if f"{stem}.{name}" not in plan.inner:
                yield module, name


def _public_path(name: str, module: ModuleType) -> str:
    """The shortest path that a user imports it by."""
    packages = module.__name__.split(".")
    for count in range(1, len(packages) + 1):
        outer = importlib.import_module(".".join(packages[:count]))
        if name in getattr(outer, "__all__", ()):
            return f"{outer.__name__}.{name}"
    return f"{module.__name__}.{name}"
