"""Says of a loop whose head takes no two kinds of batches apart which kind it is, by its lines."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from conformal_plugin.adapters.patching._bindings import Scope, called, head_of, line_of
from conformal_plugin.adapters.patching._label_sites import soft_targets, trained_labels
from conformal_plugin.adapters.patching._origins import statements
from conformal_plugin.adapters.patching._placing import Script

__all__ = ["SECTIONS", "another_kind"]

SECTIONS = {
    "teacher": "A teacher, CutMix, and a loss that edits its target",
    "soft": "A mean teacher",
    "each other": "Cross pseudo supervision",
    "streams": "One loader of two streams",
}
"""Where docs/any-loop.md has a loop of this kind."""


@dataclass(frozen=True)
class _Fetched:
    """A batch that a loop fetches by itself.

    Attributes:
        batch: what it is assigned to.
        iterator: what it comes from.
        line: of the statement.
    """

    batch: str
    iterator: ast.expr
    line: int

    def told(self, scope: Scope) -> str:
        """In words."""
        source = _loader_of(self.iterator, scope)
        return f"`{self.batch}` on line {self.line}, from {source}"


def another_kind(script: Script, scope: Scope, loop: ast.For) -> str:
    """What a loop does instead, what of its labels is known, and where a loop like it is shown.

    Args:
        script: that holds it.
        scope: that holds it.
        loop: that trains.
    """
    fetched, batch = list(_fetched(loop)), _batch(loop)
    border, whole = _border(loop), _whole_batches(loop)
    shown = []
    if len(fetched) > 1 or (fetched and not _counts(loop)):
        told = "; ".join(one.told(scope) for one in fetched)
        how = (
            f"the loop on line {loop.lineno} fetches batches itself ({told}) and takes none apart "
            "in its head"
        )
    elif len(whole) > 1:
        how = (
            f"the loop on line {loop.lineno} gets whole batches, `{'`, `'.join(whole)}`, which its "
            "body takes apart"
        )
    elif border is not None:
        batch = fetched[0].batch if fetched else batch
        how = (
            f"the loop on line {loop.lineno} gets both kinds of photos in one batch, `{batch}`, "
            f"and tells them apart by their place in it, `{border}`: one data set makes both"
        )
        shown = ["streams"]
    else:
        batch = fetched[0].batch if fetched else batch
        return (
            f"the loop on line {loop.lineno} trains on one kind of batch, `{batch}`, and nothing "
            "in it tells labelled photos from unlabelled ones"
        )
    labels, kinds = _labels(script, loop)
    sections = " and ".join(f'"{SECTIONS[kind]}"' for kind in (*shown, *kinds))
    return f"{how}; {labels}. docs/any-loop.md shows the like in {sections}"


def _labels(script: Script, loop: ast.For) -> tuple[str, tuple[str, ...]]:
    """What is known of the labels that its loss reads, and the kinds of loop that this may be."""
    lines: dict[str, list[str]] = {}
    for name, line in trained_labels(script.tree, loop):
        lines.setdefault(name, []).append(str(line))
    told = [
        f"`{name}` (line{'s' if len(at) > 1 else ''} {' and '.join(at)})"
        for name, at in lines.items()
    ]
    if len(told) == 1:
        return f"the labels that its loss reads are {told[0]}", ("teacher",)
    if told:
        return f"its losses read several labels, {', '.join(told)}", ("teacher", "each other")
    soft = soft_targets(loop)
    made = f", but soft targets ({soft})" if soft else ""
    return f"its loss reads no label that is made here by argmax or max{made}", ("soft",)


def _fetched(loop: ast.For) -> Iterator[_Fetched]:
    """Each iterator's first."""
    seen = set()
    for statement in statements(loop.body):
        if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Call):
            continue
        call = statement.value
        if called(call) not in ("next", "__next__"):
            continue
        named = isinstance(call.func, ast.Name)
        given = call.args[:1] if named else [call.func.value]  # type: ignore[attr-defined]
        if given and ast.unparse(given[0]) not in seen:
            seen.add(ast.unparse(given[0]))
            batch = ast.unparse(statement.targets[0]).strip("()")
            yield _Fetched(batch, given[0], statement.lineno)


def _loader_of(iterator: ast.expr, scope: Scope) -> str:
    """Where batches come from, as far as the function says."""
    while True:
        if isinstance(iterator, ast.Call) and called(iterator) == "iter" and iterator.args:
            iterator = iterator.args[0]
            continue
        if not isinstance(iterator, ast.Name):
            return f"`{ast.unparse(iterator)}`"
        nodes = scope.bound.get(iterator.id, [])
        if nodes == [scope.node]:
            return f"`{iterator.id}`, which is given to {scope.name}"
        made = [node.value for node in nodes if isinstance(node, ast.Assign)]
        calls = [one for one in made if isinstance(one, ast.Call) and called(one) == "iter"]
        if not calls or len(made) != len(nodes):
            lines = " and ".join(str(line_of(node)) for node in nodes)
            return f"`{iterator.id}`" + (f" (line {lines})" if lines else "")
        iterator = calls[0]


def _counts(loop: ast.For) -> bool:
    """Whether it goes over numbers, and no batch is in its head."""
    return isinstance(loop.iter, ast.Call) and called(loop.iter) in ("range", "trange")


def _whole_batches(loop: ast.For) -> list[str]:
    """The names of its head that the body takes apart, by place or by key."""
    names = [one.id for one in head_of(loop) if isinstance(one, ast.Name)]
    apart = set()
    for node in ast.walk(loop):
        match node:
            case ast.Subscript(slice=ast.Constant()) | ast.Assign(targets=[ast.Tuple()]):
                apart.add(ast.unparse(node.value))
    return [name for name in names if name in apart]


def _batch(loop: ast.For) -> str:
    return ", ".join(ast.unparse(one) for one in head_of(loop))


def _border(loop: ast.For) -> str | None:
    """What a batch is cut at, in the order of its photos."""
    borders: dict[str, set[str]] = {}
    for node in ast.walk(loop):
        if not (isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice)):
            continue
        lower, upper = node.slice.lower, node.slice.upper
        for bound, side in ((lower, "behind"), (upper, "before")):
            if isinstance(bound, (ast.Name, ast.Attribute)) and (lower is None or upper is None):
                borders.setdefault(ast.unparse(bound), set()).add(side)
    return max(borders, key=lambda border: len(borders[border]), default=None)
