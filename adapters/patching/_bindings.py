"""Which statements bind which names, scope by scope, in a script that is read and never run."""

from __future__ import annotations

import ast
import builtins
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field

__all__ = ["Scope", "called", "head_of", "line_of", "loaded_names", "parse", "scopes"]

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def parse(source: bytes | str) -> ast.Module:
    """The tree of a script; its invalid escapes and the like are not for us to warn about.

    Raises:
        SyntaxError: not Python.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(source)
        except ValueError as error:  # a zero byte
            raise SyntaxError(str(error)) from error


@dataclass
class Scope:
    """A module or a function, and what it binds itself (not what functions inside it bind).

    Attributes:
        node: the module or the function.
        outer: the scope around it; None for a module.
        bound: the nodes that bind each name, in their order: a statement, or the function whose
            argument it is.
    """

    node: ast.Module | ast.FunctionDef | ast.AsyncFunctionDef
    outer: Scope | None = None
    bound: dict[str, list[ast.AST]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """How a message calls it."""
        return "the script" if isinstance(self.node, ast.Module) else f"{self.node.name}()"

    def bound_before(self, name: str, line: int) -> bool:
        """Whether ``name`` has a value when this scope gets to ``line`` for the first time."""
        if name in self.bound:
            return any(line_of(node) < line for node in self.bound[name])
        outer = self.outer
        while outer is not None:
            if name in outer.bound:
                return True
            outer = outer.outer
        return hasattr(builtins, name)


def line_of(node: ast.AST) -> int:
    """The first line of a statement or function, counted from 1."""
    return int(getattr(node, "lineno", 0))


def scopes(tree: ast.Module) -> list[Scope]:
    """The module, then every function in it, each after the one around it."""
    found: list[Scope] = []

    def visit(node: ast.AST, outer: Scope | None) -> None:
        if isinstance(node, (ast.Module, *_FUNCTIONS)):
            outer = Scope(node, outer)
            _Bindings(outer).collect()
            found.append(outer)
        for child in ast.iter_child_nodes(node):
            visit(child, outer)

    visit(tree, None)
    return found


def loaded_names(tree: ast.AST) -> dict[str, int]:
    """Every name that is read somewhere in ``tree``, and the first line that reads it."""
    lines: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            lines[node.id] = min(node.lineno, lines.get(node.id, node.lineno))
    return lines


def head_of(loop: ast.For) -> list[ast.expr]:
    """What one batch of a loop is unpacked into, without the number that ``enumerate`` adds."""
    target = loop.target
    counted = isinstance(loop.iter, ast.Call) and called(loop.iter) == "enumerate"
    if counted and isinstance(target, ast.Tuple) and len(target.elts) == 2:
        target = target.elts[1]
    return list(target.elts) if isinstance(target, (ast.Tuple, ast.List)) else [target]


def called(call: ast.Call) -> str:
    """The name of what is called, without what it is an attribute of."""
    func = call.func
    if isinstance(func, ast.Attribute):
        return func.attr
    return func.id if isinstance(func, ast.Name) else ""


class _Bindings(ast.NodeVisitor):
    """Fills ``scope.bound``."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._statement: ast.AST = scope.node

    def collect(self) -> None:
        node = self._scope.node
        if isinstance(node, _FUNCTIONS):
            for argument in ast.walk(node.args):
                if isinstance(argument, ast.arg):
                    self._bind(argument.arg)
        for statement in node.body:
            self.visit(statement)

    def _bind(self, name: str) -> None:
        nodes = self._scope.bound.setdefault(name, [])
        if self._statement not in nodes:
            nodes.append(self._statement)

    def visit(self, node: ast.AST) -> None:
        if not isinstance(node, ast.stmt):
            super().visit(node)
            return
        outer, self._statement = self._statement, node
        super().visit(node)
        self._statement = outer

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):  # `del` gives it no value
            self._bind(node.id)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.generic_visit(node)

    def _visit_alias(self, node: ast.Import | ast.ImportFrom) -> None:
        for alias in node.names:
            self._bind(alias.asname or alias.name.split(".")[0])

    visit_Import = visit_ImportFrom = _visit_alias  # noqa: N815

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> None:
        if node.name:
            self._bind(node.name)
        self.generic_visit(node)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        if node.name:
            self._bind(node.name)
        self.generic_visit(node)

    def _visit_inner_scope(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    ) -> None:
        self._bind(node.name)
        for shared in _shared_names(node):
            self._bind(shared)

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = _visit_inner_scope  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> None:
        """Its arguments are its own."""

    def _visit_comprehension(self, node: ast.AST) -> None:
        for inner in ast.walk(node):
            if isinstance(inner, ast.NamedExpr):
                self.visit(inner.target)

    visit_ListComp = visit_SetComp = visit_DictComp = _visit_comprehension  # noqa: N815
    visit_GeneratorExp = _visit_comprehension  # noqa: N815


def _shared_names(node: ast.AST) -> Iterator[str]:
    """Names that a function inside declares to be those of a scope around it, and may bind."""
    for inner in ast.walk(node):
        if isinstance(inner, (ast.Nonlocal, ast.Global)):
            yield from inner.names
