"""Describes what is public under the name that users import, wherever its private module lies.

Sphinx goes by the module in which a thing is defined. Signatures then name a private module, a
constant has no docstring but there, and a class shows bases that are nobody's business.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.pycode import ModuleAnalyzer
from sphinx.util import logging

PACKAGE = "conformal_plugin"
logger = logging.getLogger(__name__)


def resolve(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Element | None:
    """Link a name of a private module, or one without its module, to where it is described."""
    if node["refdomain"] != "py":
        return None
    domain = env.domains.python_domain
    target = node["reftarget"]
    described = [name for name in domain.objects if name.endswith(f".{target}")]
    if target.startswith(f"{PACKAGE}."):
        thing = _imported(target)
        last = target.rpartition(".")[2]
        described = [
            name
            for name in domain.objects
            if name.rpartition(".")[2] == last and thing is not None and _imported(name) is thing
        ]
    if len(described) != 1:
        return None  # Sphinx warns
    return domain.resolve_xref(
        env, node["refdoc"], app.builder, node["reftype"], described[0], node, content
    )


def _imported(name: str) -> Any:
    try:
        return pkgutil.resolve_name(name)
    except (ImportError, AttributeError):
        return None


def add_docstring(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """The string below a constant's assignment, from the private module that has it."""
    if what != "data":
        return
    package, _, short = name.rpartition(".")
    inner = pkgutil.iter_modules(getattr(importlib.import_module(package), "__path__", ()))
    for module in (package, *(f"{package}.{one.name}" for one in inner)):
        docs = ModuleAnalyzer.for_module(module).find_attr_docs()
        if ("", short) in docs:
            lines[:] = docs["", short]
            return
    logger.warning("%s has no docstring", name)


def show_public_bases(
    app: Sphinx, name: str, thing: type, options: Any, bases: list[type | str]
) -> None:
    """A private base's own bases in its place."""
    while private := [one for one in bases if isinstance(one, type) and one.__name__[0] == "_"]:
        place = bases.index(private[0])
        bases[place : place + 1] = private[0].__bases__


def setup(app: Sphinx) -> dict[str, bool]:
    """Connect all three."""
    app.connect("autodoc-process-bases", show_public_bases)
    app.connect("missing-reference", resolve)
    # Before napoleon, which reads what is added.
    app.connect("autodoc-process-docstring", add_docstring, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
