"""Finds the self-training losses of a host's script that conformal labels do not reach."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

__all__ = ["LossGoingOn", "losses_going_on"]

# Calls that only carry a loss on: `scaler.scale(loss)`, `loss.mean()`.
_CARRIES = {"scale", "mean", "sum", "float", "to", "clone", "cuda"}


@dataclass(frozen=True)
class LossGoingOn:
    """A loss of a script that conformal labels do not reach.

    Attributes:
        name: the variable, or what it is computed by.
        lines: of the statements that compute it, the first to begin with.
    """

    name: str
    lines: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} (line {self.lines[0]})"


def losses_going_on(source: str, line: int, conformal: str) -> list[LossGoingOn] | None:
    """The losses on unlabelled photos that nothing of ours goes into.

    Read from what the statements of the training loop read and assign, whatever their names: of
    what is added up to the loss that ``backward`` is called on, a part that reads neither the
    labelled photos' masks nor anything that came from the conformal object, and that does come
    from the unlabelled photos.

    Args:
        source: the script.
        line: a line of the function that holds the training loop.
        conformal: the script's name of the conformal object.

    Returns:
        Each, in the script's order; None where the loop cannot be read so.
    """
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    for loop in _loops(_function_at(tree, line), conformal):
        return _Losses(loop, conformal).going_on()
    return None


def _function_at(tree: ast.Module, line: int) -> ast.AST:
    holding = [
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    return max(holding, key=lambda node: node.lineno, default=tree)


def _loops(function: ast.AST, conformal: str) -> Iterator[ast.For]:
    """The loops over what ``watch`` of the conformal object returned."""
    watched = {name for name, value in _assignments(function) if _calls(value, conformal, "watch")}
    for node in ast.walk(function):
        if isinstance(node, ast.For) and (
            _calls(node.iter, conformal, "watch") or watched & _read(node.iter)
        ):
            yield node


@dataclass
class _Losses:
    """What the statements of one training loop assign, and what that is made of."""

    loop: ast.For
    conformal: str
    assigned: dict[str, list[ast.expr]] = field(init=False)
    ours: dict[str, int] = field(init=False)  # by name, the line

    def __post_init__(self) -> None:
        self.assigned, self.ours = {}, {}
        for name, value in _assignments(self.loop):
            self.assigned.setdefault(name, []).append(value)
            if self.conformal in _read(value):
                self.ours[name] = value.lineno

    def going_on(self) -> list[LossGoingOn] | None:
        parts = _parts_of_a_batch(self.loop)
        totals = list(self._totals())
        if parts is None or not totals:
            return None
        masks, photos = parts
        found: dict[str, list[int]] = {}
        for total in totals:
            for name, made in self._leaves(total, ""):
                origins = self._origins(made)
                reached = origins & {*self.ours, self.conformal}
                if (
                    not reached
                    and origins & photos
                    and not self._is_supervised(made, masks, photos)
                ):
                    spread = range(made.lineno, (made.end_lineno or made.lineno) + 1)
                    found.setdefault(name or _short(made), []).extend(spread)
        losses = [LossGoingOn(name, tuple(lines)) for name, lines in found.items()]
        return sorted(losses, key=lambda loss: loss.lines[0])

    def _totals(self) -> Iterator[ast.expr]:
        for node in ast.walk(self.loop):
            if isinstance(node, ast.Attribute) and node.attr == "backward":
                yield node.value

    def _leaves(
        self, made: ast.expr, name: str, seen: frozenset[str] = frozenset()
    ) -> Iterator[tuple[str, ast.expr]]:
        """The terms that are added up, each with the name that it was last assigned to."""
        if isinstance(made, ast.BinOp):
            yield from self._leaves(made.left, name, seen)
            yield from self._leaves(made.right, name, seen)
        elif isinstance(made, ast.UnaryOp):
            yield from self._leaves(made.operand, name, seen)
        elif isinstance(made, ast.Name) and made.id in self.assigned:
            if made.id not in seen:
                replaced = self.ours.get(made.id, 0)
                for value in self.assigned[made.id]:
                    repaired = isinstance(value, ast.Call) and made.id in _read(value)
                    if value.lineno > replaced and not repaired:  # as by `nan_to_num(loss)`
                        yield from self._leaves(value, made.id, seen | {made.id})
        elif isinstance(made, ast.Call) and isinstance(made.func, ast.Attribute):
            if made.func.attr in _CARRIES:
                for inner in (made.func.value, *made.args):
                    yield from self._leaves(inner, name, seen)
            elif made.func.attr != "item":
                yield name, made
        elif isinstance(made, (ast.Call, ast.Subscript, ast.Tuple, ast.IfExp)):
            yield name, made

    def _is_supervised(self, made: ast.expr, masks: set[str], photos: set[str]) -> bool:
        """Whether something that it is called with comes from the true masks alone."""
        inputs: Sequence[ast.expr] = [made]
        if isinstance(made, ast.Call):
            inputs = [*made.args, *(keyword.value for keyword in made.keywords)]
        origins = map(self._origins, inputs)
        return any(masks & origin and not photos & origin for origin in origins)

    def _origins(self, made: ast.expr) -> set[str]:
        """All names that it is made of, directly or through other statements of the loop."""
        found: set[str] = set()
        waiting = list(_read(made))
        while waiting:
            name = waiting.pop()
            if name not in found:
                found.add(name)
                for value in self.assigned.get(name, ()):
                    waiting += _read(value)
        return found


def _parts_of_a_batch(loop: ast.For) -> tuple[set[str], set[str]] | None:
    """The names of the labelled masks and those of the unlabelled parts, in the loop's head."""
    target = loop.target
    counted = isinstance(loop.iter, ast.Call) and "enumerate" in _read(loop.iter.func)
    if counted and isinstance(target, ast.Tuple):
        target = target.elts[-1]
    if not isinstance(target, (ast.Tuple, ast.List)) or len(target.elts) < 2:
        return None
    labelled, *unlabelled = target.elts
    if not isinstance(labelled, (ast.Tuple, ast.List)) or len(labelled.elts) < 2:
        return None
    masks = {name for one in labelled.elts[1:] for name in _names(one)}
    return masks, {name for one in unlabelled for name in _names(one)}


def _calls(made: ast.AST, owner: str, method: str) -> bool:
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == method
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == owner
        for node in ast.walk(made)
    )


def _assignments(inside: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """Every name that is assigned, with its value; of `a, b = c, d` each with its own."""
    for node in ast.walk(inside):
        if not isinstance(node, (ast.Assign, ast.AugAssign, ast.AnnAssign)) or node.value is None:
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            pairs = [(target, node.value)]
            match target, node.value:
                case ast.Tuple(elts=names), ast.Tuple(elts=values) if len(names) == len(values):
                    pairs = list(zip(names, values))
            for one, value in pairs:
                for name in _names(one):
                    yield name, value


def _names(target: ast.AST) -> set[str]:
    """The names that a target binds; of `x[0]` and `x.y` it is x."""
    return {node.id for node in ast.walk(target) if isinstance(node, ast.Name)}


def _read(made: ast.AST) -> set[str]:
    return {
        node.id
        for node in ast.walk(made)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def _short(made: ast.expr) -> str:
    text = ast.unparse(made)
    return text if len(text) <= 60 else f"{text[:57]}..."
