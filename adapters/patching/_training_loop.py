"""Finds the loop that trains on labelled and unlabelled photos, and what its head binds."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from conformal_plugin.adapters.patching._bindings import Scope, called, head_of, line_of
from conformal_plugin.adapters.patching._placing import Script

__all__ = ["NoHeadToTakeApart", "NotThisKind", "TrainingLoop", "find_training_loop", "trains"]

_MODE = "train_u"


class NotThisKind(Exception):  # noqa: N818  # a reason that is told, not a fault
    """Why a script cannot be patched at its labels, for who reads it."""


class NoHeadToTakeApart(NotThisKind):
    """The head of the loop that trains does not take labelled and unlabelled batches apart.

    Attributes:
        scope: the function, or the script, that holds it.
        loop: the loop.
    """

    def __init__(self, scope: Scope, loop: ast.For) -> None:
        super().__init__(f"line {loop.lineno}")
        self.scope = scope
        self.loop = loop


@dataclass(frozen=True)
class TrainingLoop:
    """The loop over batches.

    Attributes:
        scope: the function, or the script, that holds it.
        node: the loop itself.
        epoch: the epoch counted from 0, as an expression of the script's names.
        loader: the variable that the loop goes over.
        zipped: the statement that assigns the batches to it.
        parts: the positions of unlabelled batches in what the loop is given.
        photos: the names that its head binds in these, and the position of each.
        labelled: the names that it binds in the others.
        datasets: the statements that assign the unlabelled data sets, in their order.
        cfg: the variable with the script's options.
    """

    scope: Scope
    node: ast.For
    epoch: str
    loader: str
    zipped: ast.Assign
    parts: tuple[int, ...]
    photos: dict[str, int]
    labelled: frozenset[str]
    datasets: tuple[ast.Assign, ...]
    cfg: str


def trains(node: ast.AST) -> list[ast.Call]:
    """The calls of ``backward`` in a piece of a script."""
    return [
        call
        for call in ast.walk(node)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr == "backward"
    ]


def find_training_loop(script: Script) -> TrainingLoop:
    """The one loop of a script that trains on both kinds of photos.

    Raises:
        NotThisKind: there is none, or it is not known for certain what it goes over.
        NoHeadToTakeApart: it gets its batches in another way.
    """
    scope, around, loop = _the_loop(script)
    counter = _epoch(around, loop)
    loader, zipped, streams = _streams(loop, scope)
    datasets = [_dataset(stream, scope) for stream in streams]
    unlabelled = [at for at, found in enumerate(datasets) if found and _is_unlabelled(found)]
    if not unlabelled:
        raise NotThisKind(
            f"none of what {_named(zipped)} puts together is a loader whose data set is made with "
            f"the mode {_MODE!r} in {scope.name}"
        )
    head = head_of(loop)
    if len(head) != len(streams):
        raise NotThisKind(
            f"the loop on line {loop.lineno} unpacks {len(head)} batches at a time, and "
            f"{_named(zipped)} puts {len(streams)} together"
        )
    found = list(dict.fromkeys(d for at in unlabelled if (d := datasets[at]) is not None))
    return TrainingLoop(
        scope=scope,
        node=loop,
        epoch=counter,
        loader=loader,
        zipped=zipped,
        parts=tuple(unlabelled),
        photos={name: at for at in unlabelled for name in _bound(head[at])},
        labelled=frozenset(
            name for at, part in enumerate(head) if at not in unlabelled for name in _bound(part)
        ),
        datasets=tuple(sorted(found, key=line_of)),
        cfg=_config(script, around, found),
    )


def _the_loop(script: Script) -> tuple[Scope, list[ast.For], ast.For]:
    found = []
    for scope in script.scopes:
        for around, loop in _loops(scope.node, []):
            if trains(loop) and not any(trains(inner) for inner in _inner(loop)):
                found.append((scope, around, loop))
    if not found:
        raise NotThisKind("no loop in it calls .backward(), so it does not train by itself")
    both = [one for one in found if len(head_of(one[2])) > 1 and any(map(_bound, head_of(one[2])))]
    zipped = [one for one in both if any(isinstance(e, ast.Tuple) for e in head_of(one[2]))]
    if not zipped:
        scope, _, loop = max(found, key=lambda one: len(one[1]))  # epochs around batches
        raise NoHeadToTakeApart(scope, loop)
    if len(zipped) > 1:
        lines = " and ".join(str(one[2].lineno) for one in zipped)
        raise NotThisKind(f"several loops train on batches of several kinds, on lines {lines}")
    return zipped[0]


def _loops(node: ast.AST, around: list[ast.For]) -> Iterator[tuple[list[ast.For], ast.For]]:
    """The loops of one scope, each with those around it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            continue
        if isinstance(child, ast.For):
            yield around, child
            yield from _loops(child, [*around, child])
        else:
            yield from _loops(child, around)


def _inner(loop: ast.For) -> Iterator[ast.For]:
    for node in ast.walk(loop):
        if isinstance(node, ast.For) and node is not loop:
            yield node


def _epoch(around: Sequence[ast.For], loop: ast.For) -> str:
    """The epoch, from 0."""
    for one in reversed(around):
        counts = isinstance(one.iter, ast.Call) and called(one.iter) in ("range", "trange")
        if counts and isinstance(one.target, ast.Name) and isinstance(one.iter, ast.Call):
            first = one.iter.args[0] if len(one.iter.args) > 1 else None
            if isinstance(first, ast.Constant) and first.value == 1:
                return f"{one.target.id} - 1"
            return one.target.id
    raise NotThisKind(
        f"the loop on line {loop.lineno} stands in no loop over epochs, `for epoch in range(...)`, "
        "that would tell stage I from stage II"
    )


def _streams(loop: ast.For, scope: Scope) -> tuple[str, ast.Assign, list[ast.expr]]:
    """The variable that the loop goes over, the statement with its zip, and what that zips."""
    given: ast.expr = loop.iter
    while True:
        inner = given.args[0] if isinstance(given, ast.Call) and given.args else None
        if isinstance(given, ast.Call) and called(given) == "zip":
            raise NotThisKind(
                f"line {given.lineno} makes the zip(...) of loaders within another call: give it a "
                "name in a statement of its own before, loader = zip(...), and patch again"
            )
        if isinstance(given, ast.Call) and called(given) in ("enumerate", "tqdm") and inner:
            given = inner
            continue
        if not isinstance(given, ast.Name):
            raise NotThisKind(
                f"the loop on line {loop.lineno} goes over {ast.unparse(given)[:60]}, which is no "
                "variable that a statement before it assigns"
            )
        statement = _assigned_before(given.id, loop, scope)
        name, given = given.id, statement.value
        if isinstance(given, ast.Call) and called(given) == "zip":
            return name, statement, list(given.args)
        if not (isinstance(given, ast.Call) and called(given) in ("iter", "tqdm", "enumerate")):
            raise NotThisKind(
                f"`{name}`, which the loop on line {loop.lineno} goes over, is no zip(...) of "
                f"loaders (line {statement.lineno})"
            )


def _assigned_before(name: str, loop: ast.For, scope: Scope) -> ast.Assign:
    """The statement that gives a name its value when a loop begins."""
    earlier = [node for node in scope.bound.get(name, ()) if line_of(node) < loop.lineno]
    if len(earlier) > 1 and isinstance(earlier[-1], ast.Assign):
        last = earlier[-1]
        for node in ast.walk(scope.node):
            body = getattr(node, "body", None)
            if isinstance(body, list) and last in body and loop in body:
                return last
    if len(earlier) == 1 and isinstance(earlier[0], ast.Assign):
        return earlier[0]
    return _assigned_once(name, scope)


def _assigned_once(name: str, scope: Scope) -> ast.Assign:
    where: Scope | None = scope
    while where is not None and name not in where.bound:
        where = where.outer
    nodes = where.bound[name] if where is not None else []
    if len(nodes) != 1 or not isinstance(nodes[0], ast.Assign):
        lines = ", ".join(str(line_of(node)) for node in nodes) or "nowhere"
        raise NotThisKind(
            f"`{name}` is not assigned exactly once in {scope.name}, but on lines {lines}"
            if nodes
            else f"`{name}` is assigned nowhere in {scope.name}"
        )
    return nodes[0]


def _dataset(stream: ast.expr, scope: Scope) -> ast.Assign | None:
    """The statement that assigns the data set of a loader; None where that cannot be seen."""
    while isinstance(stream, ast.Call) and called(stream) in ("iter", "cycle") and stream.args:
        stream = stream.args[0]
    if not isinstance(stream, ast.Name):
        return None
    names = set()
    for node in scope.bound.get(stream.id, ()):
        if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)):
            return None
        given = node.value.args[0] if node.value.args else None
        for word in node.value.keywords:
            given = word.value if word.arg == "dataset" else given
        if not isinstance(given, ast.Name) or "Loader" not in called(node.value):
            return None
        names.add(given.id)
    if len(names) != 1:
        return None
    (name,) = names
    made = [node for node in scope.bound.get(name, ()) if isinstance(node, ast.Assign)]
    return _assigned_once(name, scope) if any(map(_is_unlabelled, made)) else None


def _is_unlabelled(dataset: ast.Assign) -> bool:
    return any(
        isinstance(node, ast.Constant) and node.value == _MODE for node in ast.walk(dataset.value)
    )


def _config(script: Script, around: Sequence[ast.For], datasets: Sequence[ast.Assign]) -> str:
    """The variable whose ``["epochs"]`` the script reads."""
    names = {
        node.value.id
        for node in ast.walk(script.tree)
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and isinstance(node.slice, ast.Constant)
        and node.slice.value == "epochs"
    }
    if len(names) == 1:
        return names.pop()
    if names:
        raise NotThisKind(
            f"epochs are read from {' and '.join(sorted(names))}, not from one config"
        )
    raise NotThisKind(
        "no variable holds a config with ['epochs'] (a dict, as yaml.load gives it), which the key "
        "`conformal:` would stand in"
    )


def _bound(target: ast.expr) -> list[str]:
    return [node.id for node in ast.walk(target) if isinstance(node, ast.Name) and node.id != "_"]


def _named(statement: ast.stmt) -> str:
    return f"line {statement.lineno}"
