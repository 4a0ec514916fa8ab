"""Whose prediction a variable holds: followed from the loop's head through a training step.

Nothing is run. What a statement does is read off the calls in it: ``model(torch.cat((a, b)))`` is a
prediction on ``a``, then ``b``; ``.split([n, m])`` takes the two apart again; ``.detach()`` and
``.softmax(dim=1)`` leave it a prediction on the same photos, and a weighted sum of several on these
photos is one too. What is not certain is unknown.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from conformal_plugin.adapters.patching._bindings import called

__all__ = ["Origin", "Step", "argument", "assigned_names", "read_names", "statements"]

_SAME_PHOTOS = frozenset({
    *("cuda", "to", "cpu", "float", "double", "half", "type", "detach", "clone", "contiguous"),
    *("data", "softmax", "log_softmax", "sigmoid", "exp", "interpolate"),
})  # fmt: skip
_LIKE_A_MODEL = frozenset({
    *("eval", "train", "parameters", "named_parameters", "state_dict", "load_state_dict"),
    "module",
})  # fmt: skip
_OF_SETTINGS = (
    *(ast.Constant, ast.Name, ast.Attribute, ast.Subscript, ast.BinOp, ast.UnaryOp),
    *(ast.operator, ast.unaryop, ast.expr_context),
)
_TAKES_APART = frozenset({"split", "chunk", "tensor_split"})
_NO_MODELS = frozenset({"torch", "F", "nn", "np", "math", "random", "os", "logger", "print"})


@dataclass(frozen=True)
class Origin:
    """What a variable is made of.

    Attributes:
        photos: names of the loop's head whose photos stand behind each other in the batch; None
            for a part that is not known.
        predicted: whether a model has seen them.
        mixed: whether something was written into them, as CutMix does, before.
    """

    photos: tuple[str | None, ...]
    predicted: bool = False
    mixed: bool = False


def statements(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a step in their order, those of blocks included, and no inner function."""
    for statement in body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            continue
        yield statement
        for block in ("body", "orelse", "handlers", "finalbody"):
            for inner in getattr(statement, block, ()):
                if isinstance(inner, ast.ExceptHandler):
                    yield from statements(inner.body)
                elif isinstance(inner, ast.stmt):
                    yield from statements([inner])


class Step:
    """The statements of one training step, and what its variables are made of.

    Args:
        tree: the whole script, where it is seen which names are models.
        body: of the loop.
        head: the names that the loop's head binds.
    """

    def __init__(self, tree: ast.Module, body: Sequence[ast.stmt], head: Sequence[str]) -> None:
        self.statements = list(statements(body))
        self._head = frozenset(head)
        self._of_a_step = self._head.union(*map(assigned_names, self.statements))
        self._models = _models(tree)

    def origin(self, value: ast.expr, at: int) -> Origin | None:
        """What an expression in statement number ``at`` is made of; None where unknown."""
        if isinstance(value, ast.Name):
            return self._of_name(value.id, at)
        if isinstance(value, ast.Attribute) and value.attr in _SAME_PHOTOS:
            return self.origin(value.value, at)
        if isinstance(value, ast.Subscript):
            return self._of_subscript(value, at)
        if isinstance(value, ast.Call):
            return self._of_call(value, at)
        if isinstance(value, ast.IfExp):
            first, other = self.origin(value.body, at), self.origin(value.orelse, at)
            return first if first == other else None
        if isinstance(value, ast.BinOp):
            left, right = self.origin(value.left, at), self.origin(value.right, at)
            if self._is_setting(value.right):
                return left
            if self._is_setting(value.left) and isinstance(value.op, (ast.Add, ast.Mult)):
                return right
            return left if left == right else None
        return None

    def made_at(self, value: ast.expr, at: int) -> dict[str, list[int]]:
        """The names of an expression in statement number ``at``, and the lines that assign them."""
        lines: dict[str, list[int]] = {}
        for one in ast.walk(value):
            if isinstance(one, ast.Name):
                before = self.statements[:at]
                lines[one.id] = [s.lineno for s in before if one.id in _plainly_assigned(s)]
        return {name: found for name, found in lines.items() if found}

    def _is_setting(self, value: ast.expr) -> bool:
        """Whether a value is the same in all steps, as a weight is: no step makes a name of it."""
        return all(
            isinstance(one, _OF_SETTINGS)
            and not (isinstance(one, ast.Name) and one.id in self._of_a_step)
            for one in ast.walk(value)
        )

    def _of_name(self, name: str, at: int) -> Origin | None:
        found: Origin | None = Origin((name,)) if name in self._head else None
        bound = -1
        for number in range(at - 1, -1, -1):
            statement = self.statements[number]
            if name in _plainly_assigned(statement):
                found, bound = self._assigned(name, number), number
                break
        if found is not None and any(
            name in _written_into(self.statements[number]) for number in range(bound + 1, at)
        ):
            found = Origin(found.photos, found.predicted, mixed=True)
        return found

    def _assigned(self, name: str, at: int) -> Origin | None:
        """What a statement assigns to a name."""
        statement = self.statements[at]
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            return None
        target, value = statement.targets[0], statement.value
        if isinstance(target, ast.Name):
            return self.origin(value, at)
        if not isinstance(target, (ast.Tuple, ast.List)):
            return None
        places = [n for n, one in enumerate(target.elts) if _is_name(one, name)]
        if len(places) != 1:
            return None
        if isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts):
            return self.origin(value.elts[places[0]], at)
        if isinstance(value, ast.Call) and called(value) in _TAKES_APART:
            return self._taken_apart(value, places[0], len(target.elts), at)
        if isinstance(value, ast.Call) and called(value) in ("max", "topk", "min", "sort"):
            return None
        whole = self.origin(value, at)
        return whole if whole is not None and whole.predicted else None  # outputs of one model

    def _taken_apart(self, call: ast.Call, place: int, count: int, at: int) -> Origin | None:
        whole = self.origin(argument(call), at)
        if whole is None or len(whole.photos) != count:
            return None
        return Origin((whole.photos[place],), whole.predicted, whole.mixed)

    def _of_subscript(self, value: ast.Subscript, at: int) -> Origin | None:
        inner, index = value.value, value.slice
        if isinstance(index, ast.Constant) and isinstance(index.value, int):
            if isinstance(inner, ast.Call) and called(inner) in _TAKES_APART:
                whole = self.origin(argument(inner), at)
                if whole is None or not 0 <= index.value < len(whole.photos):
                    return None
                return Origin((whole.photos[index.value],), whole.predicted, whole.mixed)
            if isinstance(inner, ast.Call) and called(inner) in ("max", "min", "topk", "sort"):
                return None
            return self._of_output(inner, at)
        if isinstance(index, ast.Constant):
            return self._of_output(inner, at)
        whole = self.origin(inner, at)
        if isinstance(index, ast.Slice) and whole is not None and len(whole.photos) == 2:
            if index.step is None and index.upper is None and index.lower is not None:
                return Origin(whole.photos[1:], whole.predicted, whole.mixed)
            if index.step is None and index.lower is None and index.upper is not None:
                return Origin(whole.photos[:1], whole.predicted, whole.mixed)
        return None

    def _of_output(self, value: ast.expr, at: int) -> Origin | None:
        """One of several outputs of a model."""
        whole = self.origin(value, at)
        return whole if whole is not None and whole.predicted else None

    def _of_call(self, call: ast.Call, at: int) -> Origin | None:
        name = called(call)
        if name in ("cat", "concat", "concatenate"):
            return self._of_cat(call, at)
        if name in _SAME_PHOTOS:
            return self.origin(argument(call), at)
        given = [one for value in call.args if (one := self.origin(value, at))]
        given += [one for word in call.keywords if (one := self.origin(word.value, at))]
        if given and not given[0].predicted and self._is_model(call):
            photos, mixed = given[0].photos, any(one.mixed for one in given)
            return Origin(photos, predicted=True, mixed=mixed)
        return None

    def _of_cat(self, call: ast.Call, at: int) -> Origin | None:
        dims = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "dim")]
        if any(not (isinstance(dim, ast.Constant) and dim.value == 0) for dim in dims):
            return None
        listed = call.args[0] if call.args else None
        if not isinstance(listed, (ast.Tuple, ast.List)):
            return None
        parts = [self.origin(one, at) for one in listed.elts]
        known = [part for part in parts if part is not None]
        if not known:
            return None
        photos = tuple(name for part in parts for name in (part.photos if part else (None,)))
        predicted = {part.predicted for part in known}
        return Origin(photos, predicted == {True}, any(part.mixed for part in known))

    def _is_model(self, call: ast.Call) -> bool:
        root = _root(call.func)
        if root in self._models:
            return True
        given = [_root(one) for one in (*call.args, *(word.value for word in call.keywords))]
        plain = isinstance(call.func, ast.Name)
        return plain and any(one in self._models or "model" in one for one in given if one)


def _models(tree: ast.Module) -> set[str]:
    """The names that are used as models are, and those that such a one is given beside its own."""
    used = {
        node.value.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in _LIKE_A_MODEL
        and isinstance(node.value, ast.Name)
    } - _NO_MODELS
    for node in ast.walk(tree):
        match node:
            case ast.Assign(
                [ast.Name(id=name)],
                ast.Name(id=model) | ast.Attribute(value=ast.Name(id=model), attr="module"),
            ) if model in used:
                used.add(name)
    return used


def argument(call: ast.Call) -> ast.expr:
    """What a function of tensors is called with first, as a method or as a function."""
    func = call.func
    if isinstance(func, ast.Attribute) and _root(func.value) not in _NO_MODELS:
        return func.value
    if call.args:
        return call.args[0]
    return call.keywords[0].value if call.keywords else ast.Constant(None)


def assigned_names(statement: ast.stmt) -> set[str]:
    """The names whose value a statement changes, in place or not."""
    return _plainly_assigned(statement) | _written_into(statement)


def read_names(statement: ast.stmt) -> set[str]:
    """The names that a statement reads; of a block, those of its head alone."""
    nodes: list[ast.AST]
    if isinstance(statement, (ast.If, ast.While)):
        nodes = [statement.test]
    elif isinstance(statement, ast.For):
        nodes = [statement.iter]
    elif isinstance(statement, (ast.With, ast.AsyncWith)):
        nodes = [item.context_expr for item in statement.items]
    elif isinstance(statement, ast.Try):
        nodes = []
    else:
        nodes = [statement]
    names = {
        node.id
        for one in nodes
        for node in ast.walk(one)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    return names | _written_into(statement)


def _plainly_assigned(statement: ast.stmt) -> set[str]:
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, (ast.AnnAssign, ast.AugAssign, ast.For)):
        targets = [statement.target]
    elif isinstance(statement, ast.With):
        targets = [item.optional_vars for item in statement.items if item.optional_vars]
    names: set[str] = set()
    for target in targets:
        flat = target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
        names |= {one.id for one in flat if isinstance(one, ast.Name)}
    return names


def _written_into(statement: ast.stmt) -> set[str]:
    """The names of tensors that a statement may change in place."""
    names: set[str] = set()
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AugAssign):
        targets = [statement.target]
        names |= {_root(statement.target)}
    for target in targets:
        flat = target.elts if isinstance(target, (ast.Tuple, ast.List)) else [target]
        names |= {_root(one) for one in flat if isinstance(one, ast.Subscript)}
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
        call = statement.value
        if isinstance(call.func, ast.Name):
            names |= {_root(one) for one in call.args}
        elif isinstance(call.func, ast.Attribute) and call.func.attr.endswith("_"):
            names.add(_root(call.func.value))
    return names - {""}


def _root(value: ast.expr) -> str:
    while isinstance(value, (ast.Attribute, ast.Subscript, ast.Call)):
        value = value.func if isinstance(value, ast.Call) else value.value
    return value.id if isinstance(value, ast.Name) else ""


def _is_name(value: ast.expr, name: str) -> bool:
    return isinstance(value, ast.Name) and value.id == name
