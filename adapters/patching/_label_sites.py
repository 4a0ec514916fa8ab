"""Finds where a script makes the labels of unlabelled photos that its loss reads."""

from __future__ import annotations

import ast
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from conformal_plugin.adapters.patching._bindings import called
from conformal_plugin.adapters.patching._origins import (
    Origin,
    Step,
    argument,
    assigned_names,
    read_names,
)
from conformal_plugin.adapters.patching._training_loop import NotThisKind, TrainingLoop, trains

__all__ = [
    "LabelSite",
    "NoLabelMade",
    "OwnLabels",
    "find_label_sites",
    "labels_beside",
    "soft_targets",
    "trained_labels",
]

_COMPARING = ("mse", "kl_div", "KLDiv", "consistency")


class NoLabelMade(NotThisKind):
    """A loop makes no label that its loss reads, so that no line of ours has a place in it."""


@dataclass(frozen=True)
class LabelSite:
    """A place where label and confidence of one batch of photos are both made.

    Attributes:
        confidence: the variable with the confidence.
        label: the variable with the label.
        photos: the variable with the photos, as the loop's head binds it.
        after: the later one of the statements that make them.
    """

    confidence: str
    label: str
    photos: str
    after: ast.stmt


@dataclass(frozen=True)
class OwnLabels:
    """Labels that reach the loss and stay the script's own.

    Attributes:
        label: the variable that holds them.
        line: where they are made.
        why: why conformal labels cannot take their place.
    """

    label: str
    line: int
    why: str


@dataclass(frozen=True)
class _Made:
    """A variable that is made of a prediction."""

    name: str
    at: int
    origin: Origin | None
    of: ast.expr


def find_label_sites(
    tree: ast.Module, loop: TrainingLoop
) -> tuple[list[LabelSite], list[OwnLabels]]:
    """The places where labels can be replaced, and the labels that stay the script's own.

    Raises:
        NotThisKind: no label that reaches the loss can be replaced.
        NoLabelMade: there is none.
    """
    step = Step(tree, loop.node.body, [*loop.photos, *loop.labelled])
    labels, confidences = _made(step)
    trained = _trained_names(loop.node)
    reaching = [one for one in labels if _reaches(step, one, trained)]
    sites: list[LabelSite] = []
    own: list[OwnLabels] = []
    for label in reaching:
        if label.origin is not None and _all_labelled(label.origin, loop):
            continue
        found = _site(step, label, confidences, loop)
        if isinstance(found, LabelSite):
            sites.append(found)
        else:
            own.append(OwnLabels(label.name, step.statements[label.at].lineno, found))
    if own and not sites:
        told = "; ".join(f"`{one.label}` (line {one.line}): {one.why}" for one in own)
        raise NotThisKind(
            f"none of the labels that its loss reads can be replaced where it is made: {told}"
        )
    if not sites:
        raise NoLabelMade(_no_label(loop))
    return sites, own


def labels_beside(tree: ast.Module, loop: TrainingLoop, losses: Collection[str]) -> list[int]:
    """The lines of labels that reach what is trained on by other ways than through ``losses``."""
    step = Step(tree, loop.node.body, [*loop.photos, *loop.labelled])
    labels, _ = _made(step)
    trained = _trained_names(loop.node)
    return [
        step.statements[one.at].lineno
        for one in labels
        if (one.origin is None or not _all_labelled(one.origin, loop))
        and _reaches(step, one, trained, without=losses)
    ]


def trained_labels(tree: ast.Module, loop: ast.For) -> list[tuple[str, int]]:
    """The labels that reach what any loop trains on, whosever they are, and their lines."""
    step = Step(tree, loop.body, [])
    labels, _ = _made(step)
    trained = _trained_names(loop)
    return [
        (one.name, step.statements[one.at].lineno) for one in labels if _reaches(step, one, trained)
    ]


def soft_targets(loop: ast.For) -> str:
    """How a loop compares predictions with each other, by its lines; empty where none is seen."""
    found = [
        f"{called(node)} on line {node.lineno}"
        for node in ast.walk(loop)
        if isinstance(node, ast.Call)
        and any(word in called(node) for word in _COMPARING)
        and "weight" not in called(node)
    ]
    for node in ast.walk(loop):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            factors = [set(map(called, _calls(one))) for one in (node.left, node.right)]
            if sum("log_softmax" in names for names in factors) == 1:
                found.append(f"a product with log_softmax on line {node.lineno}")
    return ", ".join(dict.fromkeys(found))


def _calls(node: ast.AST) -> list[ast.Call]:
    return [inner for inner in ast.walk(node) if isinstance(inner, ast.Call)]


def _no_label(loop: TrainingLoop) -> str:
    soft = soft_targets(loop.node)
    if soft:
        return (
            f"it makes no hard label that its loss reads, but compares predictions with each other "
            f"({soft}): soft targets have no place for a conformal label"
        )
    return (
        f"the loop on line {loop.node.lineno} makes no label by argmax(dim=1) or max(dim=1) that "
        "its loss reads; it may be made in a function of another module, which is not looked into"
    )


def _made(step: Step) -> tuple[list[_Made], list[_Made]]:
    """The labels and the confidences that a step makes."""
    labels: list[_Made] = []
    confidences: list[_Made] = []
    for at, statement in enumerate(step.statements):
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            continue
        target, value = statement.targets[0], statement.value
        pairs = [(target, value)]
        if isinstance(target, ast.Tuple):
            if isinstance(value, ast.Tuple) and len(value.elts) == len(target.elts):
                pairs = list(zip(target.elts, value.elts))
            elif len(target.elts) == 2 and isinstance(value, ast.Call) and called(value) == "max":
                both = _over_classes(value)
                if both is not None:
                    origin = step.origin(both, at)
                    for one, names in zip(target.elts, (confidences, labels)):
                        if isinstance(one, ast.Name) and one.id != "_":
                            names.append(_Made(one.id, at, _predicted(origin), both))
                continue
        for name, made in pairs:
            if not isinstance(name, ast.Name):
                continue
            for of, names in ((_label_of(made), labels), (_confidence_of(made), confidences)):
                if of is not None:
                    names.append(_Made(name.id, at, _predicted(step.origin(of, at)), of))
    return labels, confidences


def _predicted(origin: Origin | None) -> Origin | None:
    return origin if origin is not None and origin.predicted else None


def _bare(value: ast.expr) -> ast.expr:
    """A value without what changes neither its pixels nor their meaning."""
    while (
        isinstance(value, ast.Call)
        and isinstance(value.func, ast.Attribute)
        and value.func.attr in ("detach", "cuda", "to", "long", "clone", "float", "data")
    ):
        value = value.func.value
    return value


def _label_of(value: ast.expr) -> ast.expr | None:
    """What a label is the most probable class of."""
    value = _bare(value)
    if isinstance(value, ast.Call) and called(value) == "argmax":
        return _over_classes(value)
    return _one_of_max(value, 1, "indices")


def _confidence_of(value: ast.expr) -> ast.expr | None:
    """What a confidence is the highest score of."""
    value = _bare(value)
    if isinstance(value, ast.Call) and called(value) == "amax":
        return _over_classes(value)
    return _one_of_max(value, 0, "values")


def _one_of_max(value: ast.expr, index: int, attribute: str) -> ast.expr | None:
    inner: ast.expr | None = None
    if isinstance(value, ast.Subscript) and isinstance(value.slice, ast.Constant):
        inner = value.value if value.slice.value == index else None
    elif isinstance(value, ast.Attribute) and value.attr == attribute:
        inner = value.value
    return _over_classes(inner) if isinstance(inner, ast.Call) and called(inner) == "max" else None


def _over_classes(call: ast.Call) -> ast.expr | None:
    """What is reduced over its second dimension."""
    method = isinstance(call.func, ast.Attribute) and argument(call) is call.func.value
    dims = call.args[0 if method else 1 :][:1]
    dims += [word.value for word in call.keywords if word.arg in ("dim", "axis")]
    if len(dims) == 1 and isinstance(dims[0], ast.Constant) and dims[0].value == 1:
        return argument(call)
    return None


def _trained_names(loop: ast.For) -> set[str]:
    """The variables whose ``backward`` is called, or that are given to it."""
    names: set[str] = set()
    for call in trains(loop):
        for node in ast.walk(call):
            if isinstance(node, ast.Name):
                names.add(node.id)
    return names


def _reaches(step: Step, made: _Made, trained: set[str], without: Collection[str] = ()) -> bool:
    """Whether what is trained on may be made of it, by other ways than through some variables."""
    tainted = {made.name}
    for statement in step.statements[made.at + 1 :]:
        for one in _taken_apart(statement):
            if read_names(one) & tainted:
                tainted |= assigned_names(one) - set(without)
        if tainted & trained:
            return True
    return False


def _taken_apart(statement: ast.stmt) -> list[ast.stmt]:
    """`a, b = c, d` as `a = c` and `b = d`, which it is but for the order; all else as it is."""
    match statement:
        case ast.Assign([ast.Tuple(elts=names)], ast.Tuple(elts=values)):
            if len(names) == len(values):
                return [ast.Assign([name], value) for name, value in zip(names, values)]
    return [statement]


def _all_labelled(origin: Origin, loop: TrainingLoop) -> bool:
    return all(name in loop.labelled for name in origin.photos)


def _site(
    step: Step, label: _Made, confidences: Sequence[_Made], loop: TrainingLoop
) -> LabelSite | str:
    """The place where this label can be replaced, or why it cannot."""
    origin = label.origin
    if origin is None:
        made = "".join(
            f" (`{name}` is made on line{'s' if len(lines) > 1 else ''} "
            f"{' and '.join(map(str, lines))})"
            for name, lines in step.made_at(label.of, label.at).items()
        )
        return f"whose prediction it is of cannot be followed{made}"
    if origin.mixed:
        return "the photos were pasted into each other before the model labelled them"
    (photos, *others) = origin.photos
    if photos is None or others or photos not in loop.photos:
        return "it is of several batches at once, or of labelled photos too"
    beside = [one for one in confidences if one.origin == origin]
    if not beside:
        return "no confidence is made of the same prediction beside it"
    nearest = min(beside, key=lambda one: (abs(one.at - label.at), one.at))
    first, last = sorted((nearest.at, label.at))
    if not _in_one_block(loop.node, step.statements[first], step.statements[last]):
        return f"its confidence `{nearest.name}` is made elsewhere"
    for statement in step.statements[first + 1 : last]:
        if read_names(statement) & {label.name, nearest.name}:
            return f"line {statement.lineno} reads it before label and confidence are both made"
    return LabelSite(nearest.name, label.name, photos, step.statements[last])


def _in_one_block(tree: ast.AST, one: ast.stmt, other: ast.stmt) -> bool:
    for node in ast.walk(tree):
        for block in ("body", "orelse", "finalbody"):
            inside = getattr(node, block, None)
            if isinstance(inside, list) and one in inside:
                return other in inside
    return False
