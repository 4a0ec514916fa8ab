"""Docstrings as Markdown: one class that writes a page's entries, linked with each other."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import os
import re
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api_docstrings import SECTIONS, Docstring, disagreements, read
from api_public import PAGES, Entry, Page, Reference, slug
from api_signatures import (
    annotation,
    code,
    constant_value,
    marked,
    parameter,
    wrapped,
)

__all__ = ["API", "Writer"]

API = Path(__file__).resolve().parents[1] / "api"


@dataclass
class Writer:
    """Writes one page."""

    reference: Reference
    page: str

    def text(self, docstring: str, inside: str = "") -> str:
        """Prose of a docstring as Markdown; ``inside`` is the class that ``:meth:`` means."""
        parts = re.split(r"::\n\n((?: {4}.*\n|\n)+)", docstring + "\n")
        for place, part in enumerate(parts):
            if place % 2:
                parts[place] = f":\n\n```text\n{inspect.cleandoc(part).strip()}\n```\n\n"
            else:
                parts[place] = self._prose(part, inside)
        return "".join(parts).strip()

    def _prose(self, text: str, inside: str) -> str:
        text = re.sub(r"``(.+?)``", lambda m: f"`{' '.join(m[1].split())}`", text, flags=re.DOTALL)
        text = re.sub(r":(\w+):`([^`]+)`", lambda m: self._role(m[2], inside), text)
        parts = re.split(r"(`[^`]*`)", text)
        for place in range(0, len(parts), 2):
            plain = re.sub(r"(?<=\w)\*\*(?=-?\w)", r"\\*\\*", parts[place])
            parts[place] = plain.replace("<", "&lt;")
        return "".join(parts)

    def _role(self, target: str, inside: str) -> str:
        name = target.lstrip("~").lstrip(".")
        shown = f"`{name.split('.')[-1] if target.startswith(('~', '.')) else name}`"
        link = self._link(name) or (inside and self._link(f"{inside}.{name}"))
        if link:
            return f"[{shown}]({link})"
        if name.startswith("conformal_plugin") and not _importable(name):
            self.reference.problems.append(f"{self.page}.md: {target} names nothing that exists")
        page = next((p for p, plan in PAGES.items() if _page_module(p, plan) == name), None)
        return f"[{shown}]({page}.md)" if page else shown

    def _link(self, name: str) -> str:
        """Where a name or a class's member is described; empty where it is not."""
        entry = self._entry_named(name)
        if entry:
            return self._to(entry)
        owner, _, member = name.rpartition(".")
        entry = self._entry_named(owner)
        if not entry or not inspect.isclass(entry.value):
            return ""
        for base in entry.value.__mro__:
            holder = self.reference.of(base) or (base is entry.value and entry)
            if holder and _is_member(vars(base).get(member)):
                return self._to(holder).split("#")[0] + "#" + slug(f"{base.__name__}.{member}")
        return self._to(entry) if hasattr(entry.value, member) else ""

    def _entry_named(self, name: str) -> Entry | None:
        for entry in self.reference.entries:
            if name in (entry.path, f"{entry.module.__name__}.{entry.name}"):
                return entry
        near = [entry for entry in self.reference.entries if entry.name == name]
        return next((entry for entry in near if entry.page == self.page), near[0] if near else None)

    def _to(self, entry: Entry) -> str:
        return f"#{entry.anchor}" if entry.page == self.page else entry.link

    def linked(self, annotation: str) -> str:
        """A type, linked where it is one of ours."""
        entry = next((e for e in self.reference.entries if e.name == annotation), None)
        return f"[`{annotation}`]({self._to(entry)})" if entry else f"`{annotation}`"

    def sections(self, doc: Docstring, types: Mapping[str, str], returns: str, inside: str) -> str:
        """Args, Returns, Raises and the rest."""
        parts = []
        for name in SECTIONS:
            if name in doc.items:
                lines = [f"**{name}**", ""]
                for item in doc.items[name]:
                    names = ", ".join(self._item_name(name, one) for one in item.names)
                    kinds = dict.fromkeys(types[n] for n in item.names if types.get(n))
                    kind = f" ({self.linked(*kinds)})" if len(kinds) == 1 else ""
                    text = self.text(item.text, inside).replace("\n", "\n  ")
                    lines.append(f"- {names}{kind}: {text}")
                parts.append("\n".join(lines))
            elif name == "Example" and name in doc.prose:
                parts.append(f"**Example**\n\n```pycon\n{doc.prose[name]}\n```")
            elif name in doc.prose:
                kind = f" {self.linked(returns)}:" if returns and name == "Returns" else ":"
                parts.append(f"**{name}**{kind} {self.text(doc.prose[name], inside)}")
        return "\n\n".join(parts)

    def _item_name(self, section: str, name: str) -> str:
        return self.linked(name) if section in ("Raises", "Warns") else f"`{name}`"

    # --- entries

    def entry(self, entry: Entry) -> str:
        """All about one name."""
        value, where = entry.value, f"`{entry.path}`"
        source = os.path.relpath(Path(str(entry.module.__file__)).resolve(), API)
        head = f"### {entry.name}\n\n{where} ([source]({Path(source).as_posix()}))"
        if inspect.isclass(value):
            return f"{head}\n\n{self._class(entry)}"
        if entry.is_function:
            called = inspect.unwrap(value)  # a fixture's function; others are as they are
            return f"{head}\n\n{self._function(entry.path, entry.name, called)}"
        return f"{head}\n\n{self._constant(entry)}"

    def _function(self, path: str, name: str, function: Any, inside: str = "") -> str:
        doc = self._read(path, function)
        signature = inspect.signature(function)
        own = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
        self._compare(path, doc, own)
        types = {p.name: annotation(p.annotation, function) for p in own}
        returns = annotation(signature.return_annotation, function)
        arrow = f" -> {returns}" if returns else ""
        shown = wrapped(name, [parameter(p, function) for p in marked(own)], arrow)
        rest = self.sections(doc, types, returns, inside)
        return "\n\n".join(p for p in (code(shown), self.text(doc.text, inside), rest) if p)

    def _class(self, entry: Entry) -> str:
        cls = entry.value
        doc = self._read(entry.path, cls)
        parts = []
        own: list[inspect.Parameter] = []
        if not issubclass(cls, BaseException) and not getattr(cls, "_is_protocol", False):
            signature = inspect.signature(cls)
            own = list(signature.parameters.values())
            parts.append(code(wrapped(cls.__name__, [parameter(p, cls) for p in marked(own)], "")))
        self._compare(entry.path, doc, own)
        said = {n for item in doc.items.get("Attributes", []) for n in item.names}
        if dataclasses.is_dataclass(cls):
            fields = [one.name for one in dataclasses.fields(cls) if not one.name.startswith("_")]
            self.reference.problems += [
                f"{entry.path}: Attributes says nothing of {n}" for n in fields if n not in said
            ]
        bases = [self.linked(_base_name(base)) for base in cls.__bases__ if _worth_naming(base)]
        if bases:
            parts.append(f"Bases: {', '.join(bases)}")
        types = {p.name: annotation(p.annotation, cls) for p in own}
        types |= {n: str(t) for n, t in inspect.get_annotations(cls).items()}
        parts += [self.text(doc.text, cls.__name__), self.sections(doc, types, "", cls.__name__)]
        members, inherited = self._members(cls)
        parts += [self._member(entry, name, cls) for name in members if name not in said]
        for base, names in inherited.items():
            from_base = self.linked(base.__name__)
            parts.append(f"From {from_base}: {', '.join(f'`{name}`' for name in names)}.")
        return "\n\n".join(part for part in parts if part)

    def _members(self, cls: type) -> tuple[list[str], dict[type, list[str]]]:
        """Methods and properties to describe here, and those that a described base has."""
        here: list[str] = []
        inherited: dict[type, list[str]] = {}
        for base in cls.__mro__:
            if not base.__module__.startswith("conformal_plugin"):
                continue
            for name, value in vars(base).items():
                public = not name.startswith("_") or (name == "__call__" and value.__doc__)
                known = name in here or any(name in names for names in inherited.values())
                if not public or known or not _is_member(value):
                    continue
                if base is cls or not self.reference.of(base):
                    here.append(name)
                else:
                    inherited.setdefault(base, []).append(name)
        return here, inherited

    def _member(self, entry: Entry, name: str, cls: type) -> str:
        raw = inspect.getattr_static(cls, name)
        path = f"{entry.path}.{name}"
        title = f"{cls.__name__}.{name}"
        head = f"#### {title}".replace("__", r"\_\_")  # no bold type
        if isinstance(raw, property):
            doc = self._read(path, raw)
            kind = annotation(inspect.signature(raw.fget).return_annotation, raw.fget)
            described = self.sections(doc, {}, kind, cls.__name__)
            shown = code(f"{title}: {kind}")
            return "\n\n".join(
                part for part in (head, shown, self.text(doc.text, cls.__name__), described) if part
            )
        function = raw.__func__ if isinstance(raw, (classmethod, staticmethod)) else raw
        return f"{head}\n\n{self._function(path, title, function, cls.__name__)}"

    def _constant(self, entry: Entry) -> str:
        doc = entry.docstring
        if not doc:
            self.reference.problems.append(f"{entry.path} has no docstring")
        alias = isinstance(entry.value, str) and entry.name.istitle()
        shown = entry.value if alias or " | " in str(entry.value) else constant_value(entry.value)
        return f"{code(f'{entry.name} = {shown}')}\n\n{self.text(doc)}"

    def _read(self, path: str, value: Any) -> Docstring:
        text = inspect.getdoc(value) if not inspect.isclass(value) else vars(value).get("__doc__")
        if not text or text.startswith(f"{getattr(value, '__name__', '')}("):  # a dataclass's own
            self.reference.problems.append(f"{path} has no docstring")
        try:
            return read(text or "")
        except ValueError as error:
            self.reference.problems.append(f"{path}: {error}")
            return Docstring()

    def _compare(self, path: str, doc: Docstring, own: list[inspect.Parameter]) -> None:
        found = disagreements(doc, (p.name for p in own))
        self.reference.problems += [f"{path}: {one}" for one in found]


def _importable(path: str) -> bool:
    parts = path.split(".")
    for count in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:count]))
        except ImportError:
            continue
        for name in parts[count:]:
            if not hasattr(value, name) and name not in getattr(value, "__annotations__", {}):
                return False
            value = getattr(value, name, None)
        return True
    return False


def _page_module(page: str, plan: Page) -> str:
    return f"conformal_plugin.{plan.package or page}"


def _is_member(value: Any) -> bool:
    return isinstance(value, (property, classmethod, staticmethod)) or inspect.isfunction(value)


def _worth_naming(base: type) -> bool:
    return base not in (object, typing.Generic, typing.Protocol) and base.__name__[0] != "_"


def _base_name(base: type) -> str:
    plain = base.__module__ in ("builtins", "torch.nn.modules.module")
    ours = base.__module__.startswith("conformal_plugin")
    return base.__name__ if plain or ours else f"{base.__module__}.{base.__name__}"
