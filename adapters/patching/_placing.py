"""Finds where the lines of a recipe go in a script, or says what is in the way."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from conformal_plugin.adapters.patching._bindings import (
    Scope,
    head_of,
    line_of,
    loaded_names,
    parse,
    scopes,
)
from conformal_plugin.adapters.patching._recipe import Insertion, Recipe

__all__ = [
    "Place",
    "Script",
    "beside",
    "find_places",
    "import_place",
    "misfits",
    "own_names",
    "with_readable_names",
]

_ASSIGNMENTS = (ast.Assign, ast.AnnAssign)


class Script:
    """A script that parses: its bytes, its lines, its tree and its scopes.

    Raises:
        SyntaxError: it does not parse.
    """

    def __init__(self, source: bytes) -> None:
        self.source = source
        self.lines = source.splitlines(keepends=True)  # at \n, \r\n and \r, as Python counts lines
        self.tree = parse(source)
        self.scopes = scopes(self.tree)

    def bound(self) -> dict[str, int]:
        """Every name that is bound in any scope, and the first line that binds it."""
        lines: dict[str, int] = {}
        for scope in self.scopes:
            for name, nodes in scope.bound.items():
                first = min(map(line_of, nodes))
                lines[name] = min(first, lines.get(name, first))
        return lines


@dataclass(frozen=True)
class Place:
    """Where some lines of a recipe go.

    Attributes:
        what: what the place is, in words, with its line.
        lines: what goes there.
        index: how many lines of the script come before; None where the place was not found.
        indent: what to put before each line.
        anchor: the statement that the lines go beside; None where it was not found.
        where: on which side of it.
        problem: why the place cannot be used; empty where it can.
    """

    what: str
    lines: tuple[str, ...]
    index: int | None = None
    indent: bytes = b""
    anchor: ast.stmt | None = None
    where: str = "after"
    problem: str = ""


def own_names(recipe: Recipe) -> set[str]:
    """The names that the inserted lines bring along; the script must not use them already."""
    (module,) = scopes(parse("\n".join(_all_lines(recipe))))
    return module.bound.keys() - {*recipe.needs, *(i.anchor for i in recipe.insertions)}


def misfits(recipe: Recipe, script: Script) -> dict[str, str]:
    """What tells the script from the one that the recipe is for, by name; empty where it is it."""
    bound = script.bound()
    found = {name: f"`{name}` is bound nowhere in it" for name in recipe.needs if name not in bound}
    if recipe.sample is not None and not found and not _has_sample(script.tree, recipe.sample):
        wanted = ", ".join(recipe.sample) or "the photo alone"
        found["a sample"] = f"the head of its loop takes no unlabelled sample ({wanted}) apart"
    return found | {
        name: f"`{name}` is bound on line {bound[name]}, and {recipe.host}'s script has none"
        for name in recipe.lacks
        if name in bound
    }


def find_places(recipe: Recipe, script: Script) -> list[Place]:
    """The place of the imports, then that of each insertion, in the recipe's order.

    The script is as it was upstream, or a fork of that, without the inserted lines. All places can
    be used only where no place has a problem; then inserting is known to leave each of the host's
    own statements as it was.
    """
    scope, *others = _training_scopes(recipe, script)
    places = [_import_place(recipe, script, scope)]
    places += [_place(insertion, script, scope) for insertion in recipe.insertions]
    if others:
        names = " and ".join(one.name for one in (scope, *others))
        problem = f"{names} assign the same variables, so either may hold the training loop"
        places = [replace(place, problem=problem) for place in places]
    return with_readable_names(places, own_names(recipe), script, scope, recipe.needs)


def _all_lines(recipe: Recipe) -> list[str]:
    return [*recipe.imports, *(line for i in recipe.insertions for line in i.lines)]


def _training_scopes(recipe: Recipe, script: Script) -> list[Scope]:
    """The scope that binds most of the anchors, most of them once; several where all are alike."""

    def fitness(scope: Scope) -> tuple[int, int]:
        times = [len(scope.bound.get(i.anchor, ())) for i in recipe.insertions]
        return sum(map(bool, times)), times.count(1)

    best = max(map(fitness, script.scopes))
    fittest = [scope for scope in script.scopes if fitness(scope) == best]
    if best[0] == len(recipe.insertions):
        return fittest
    return sorted(fittest, key=lambda scope: scope.name != "main()")[:1]


def _has_sample(tree: ast.Module, sample: Sequence[str]) -> bool:
    """Whether a loop's head takes the batch after the first apart as a sample of these names."""
    heads = [head_of(node) for node in ast.walk(tree) if isinstance(node, ast.For)]
    return any(
        len(head) > 1 and isinstance(head[0], ast.Tuple) and _is_sample(head[1], sample)
        for head in heads
    )


def _is_sample(target: ast.expr, sample: Sequence[str]) -> bool:
    if not isinstance(target, ast.Tuple):
        return not sample
    names = [one.id if isinstance(one, ast.Name) else "" for one in target.elts]
    return len(names) == len(sample) and all(
        wanted in ("_", name) for wanted, name in zip(sample, names)
    )


def _import_place(recipe: Recipe, script: Script, scope: Scope) -> Place:
    first = min(_anchor_lines(recipe, scope), default=len(script.lines) + 1)
    return import_place(script, scope, first, recipe.imports)


def import_place(script: Script, scope: Scope, first: int, imports: tuple[str, ...]) -> Place:
    """After the last import at top level that has run when the training loop begins.

    Args:
        script: the script.
        scope: what holds the training loop.
        first: the first line that needs what is imported, where that is at top level.
        imports: the lines.
    """
    wanted = "the last import at top level"
    top = scope
    while top.outer is not None and top.outer.outer is not None:
        top = top.outer
    end = line_of(top.node) or first
    found = [
        node
        for node in script.tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom)) and node.lineno < end
    ]
    if not found:
        return Place(wanted, imports, problem="no import was found at top level")
    return beside(found[-1], "after", imports, script, wanted)


def _anchor_lines(recipe: Recipe, scope: Scope) -> Iterable[int]:
    for insertion in recipe.insertions:
        yield from map(line_of, scope.bound.get(insertion.anchor, ()))


def _place(insertion: Insertion, script: Script, scope: Scope) -> Place:
    anchor, where = insertion.anchor, insertion.where
    wanted = f"the statement that assigns `{anchor}`"
    nodes = scope.bound.get(anchor, [])
    if not nodes:
        problem = f"`{anchor}` is assigned nowhere in {scope.name}"
        return Place(wanted, insertion.lines, where=where, problem=problem)
    if len(nodes) > 1:
        problem = f"`{anchor}` is assigned {len(nodes)} times in {scope.name}: on {_lines(nodes)}"
        what = f"{wanted} ({_lines(nodes)})"
        return Place(what, insertion.lines, where=where, problem=problem)
    (node,) = nodes
    if not isinstance(node, _ASSIGNMENTS):
        problem = f"`{anchor}` is bound on line {line_of(node)}, but not by an assignment"
        return Place(wanted, insertion.lines, where=where, problem=problem)
    place = beside(node, where, insertion.lines, script, wanted)
    problem = _reads_other(insertion, node)
    return replace(place, problem=place.problem or problem) if problem else place


def _reads_other(insertion: Insertion, node: ast.Assign | ast.AnnAssign) -> str:
    """Why lines that change what a statement reads would not do so here."""
    if node.value is None or not insertion.reads:
        return ""
    read = loaded_names(node.value).keys()
    where = f"`{insertion.anchor}` on line {node.lineno}"
    unread = [name for name in insertion.reads if name not in read]
    if unread:
        return f"{where} is not made of {', '.join(f'`{name}`' for name in unread)}"
    if insertion.may_read is None:
        return ""
    more = sorted(read - {*insertion.reads, *insertion.may_read})
    if more:
        return f"{where} is made of {', '.join(f'`{name}`' for name in more)} too"
    return ""


def beside(
    node: ast.stmt, where: str, lines: tuple[str, ...], script: Script, wanted: str
) -> Place:
    """The place beside a statement, with a problem where it shares its lines with another."""
    first, last = node.lineno, node.end_lineno or node.lineno
    indent = script.lines[first - 1][: node.col_offset]
    shares = _shares_its_lines(node, script.tree)
    span = f"line {first}" if first == last else f"lines {first} to {last}"
    return Place(
        what=f"{wanted}, {span}",
        lines=lines,
        index=last if where == "after" else first - 1,
        indent=b"" if shares else indent,
        anchor=node,
        where=where,
        problem=f"{wanted} shares {span} with another" if shares else "",
    )


def _shares_its_lines(node: ast.stmt, tree: ast.Module) -> bool:
    """Whether another statement, as in ``a = 1; b = 2`` or ``if a: b = 2``, is on its lines."""
    first, last = node.lineno, node.end_lineno or node.lineno
    for other in ast.walk(tree):
        if isinstance(other, ast.stmt) and other is not node:
            begins = first <= other.lineno <= last
            ends = other.lineno < first == other.end_lineno and node not in ast.walk(other)
            if begins or ends:
                return True
    return False


def with_readable_names(
    places: Sequence[Place],
    own: Collection[str],
    script: Script,
    scope: Scope,
    needs: Iterable[str] = (),
) -> list[Place]:
    """The places, with a problem where a name they use has no value yet, or one of another's.

    Args:
        places: where lines go.
        own: the names that the lines bring along.
        script: the script.
        scope: what holds the training loop.
        needs: names that are known to be looked for elsewhere.
    """
    bound = script.bound()
    taken = {name: line for name, line in bound.items() if name in own}
    elsewhere = {name for name in needs if name not in bound}  # misfits() tells of them
    brought: dict[str, int] = {}  # the own names, and from which place on they have a value
    for place in places:
        (module,) = scopes(parse("\n".join(place.lines)))
        for name in module.bound.keys() & set(own):
            brought[name] = -1 if place.index is None else place.index
    checked = []
    for place in places:
        tree = parse("\n".join(place.lines))
        problem = place.problem
        for name in sorted(scopes(tree)[0].bound.keys() & taken.keys()):
            problem = problem or f"`{name}` is in use already, on line {taken[name]}"
        for name in sorted(loaded_names(tree).keys() - elsewhere):
            if problem or place.index is None:
                break
            line = place.index + 1
            if not scope.bound_before(name, line) and brought.get(name, line) > place.index:
                problem = f"`{name}` has no value yet on line {line}, before {place.what}"
        checked.append(replace(place, problem=problem))
    return checked


def _lines(nodes: Iterable[ast.AST]) -> str:
    *most, last = map(str, sorted(set(map(line_of, nodes))))
    return f"lines {', '.join(most)} and {last}" if most else f"line {last}"
