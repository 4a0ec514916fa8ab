"""Puts a recipe's lines into a script and takes them out again; all in memory, bytes to bytes."""

from __future__ import annotations

import ast
import copy
import difflib
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from conformal_plugin.adapters.patching._bindings import loaded_names, parse
from conformal_plugin.adapters.patching._placing import Place, Script, find_places, misfits
from conformal_plugin.adapters.patching._recipe import Recipe
from conformal_plugin.errors import SourceFileError

__all__ = [
    "MARKER",
    "Patch",
    "Removal",
    "edited",
    "manual_steps",
    "marked_lines",
    "patch",
    "remove",
    "unified",
    "without_inserted_lines",
]

MARKER = "  # conformal-plugin"
"""What stands behind each inserted line."""
_MARKED = re.compile(rb"[ \t\f]*[^ \t\f#].*#[ \t]*conformal-plugin[ \t\f]*(?:\r\n|\r|\n)?\Z")


@dataclass(frozen=True)
class Patch:
    """What a script becomes.

    Attributes:
        recipe: the recipe that fits it best.
        before: the script without the inserted lines.
        after: the script with them; None where it cannot be patched.
        already: whether the script has them.
        places: where the lines go, as far as that was found.
        problems: why it cannot be patched.
        notes: what the edit leaves as it is, for who reads it.
        fits: whether the script is of the recipe's host, so that its steps are right for it.
    """

    recipe: Recipe
    before: bytes
    after: bytes | None
    already: bool = False
    places: tuple[Place, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    fits: bool = False

    @property
    def added(self) -> int:
        """How many lines are inserted."""
        return sum(len(place.lines) for place in self.places)


@dataclass(frozen=True)
class Removal:
    """A script without the inserted lines.

    Attributes:
        after: the script without them.
        lines: the numbers of the lines that went.
        problem: why they must not go; empty where they may.
    """

    after: bytes
    lines: tuple[int, ...]
    problem: str = ""


def patch(source: bytes, recipes: Sequence[Recipe]) -> Patch:
    """Patch a script with the recipe that it is for.

    Args:
        source: the script as it is on disk, patched or not.
        recipes: the candidates, at least one.

    Returns:
        What it becomes. A script that has exactly these lines comes back as it is.
    """
    marked, before, problem = without_inserted_lines(source)
    if problem:
        return Patch(recipes[0], before, None, problems=(problem,))
    script = Script(before)
    unfit = {number: misfits(recipe, script) for number, recipe in enumerate(recipes)}
    number = min(unfit, key=lambda number: len(unfit[number]))
    recipe = recipes[number]
    fitting = [recipes[n].host for n, found in unfit.items() if not found]
    if len(fitting) > 1:
        problem = f"it fits the recipes of {' and '.join(fitting)} alike"
        return Patch(recipe, before, None, problems=(problem,))
    places = tuple(find_places(recipe, script))
    anchors = {insertion.anchor for insertion in recipe.insertions}  # their places say more
    problems = [text for name, text in unfit[number].items() if name not in anchors]
    made = edited(recipe, script, places, source, marked, problems)
    return replace(made, fits=not unfit[number])


def without_inserted_lines(source: bytes) -> tuple[tuple[int, ...], bytes, str]:
    """The numbers of the inserted lines, the script without them, and what is wrong with it."""
    removal = remove(source)
    if removal.problem:
        problem = f"the inserted lines were edited: {removal.problem}"
        return removal.lines, removal.after, problem
    try:
        parse(removal.after)
    except SyntaxError as error:
        where = f" on line {error.lineno}" if error.lineno else ""
        problem = f"it is not valid Python{where} ({error.msg}); repair that first"
        return removal.lines, removal.after, problem
    return removal.lines, removal.after, ""


def edited(
    recipe: Recipe,
    script: Script,
    places: Sequence[Place],
    source: bytes,
    marked: tuple[int, ...],
    problems: Sequence[str] = (),
) -> Patch:
    """A script with lines in all places, or why that cannot be.

    Args:
        recipe: what the lines are of.
        script: the script without them.
        places: where they go.
        source: the script as it is on disk.
        marked: the numbers of the lines in ``source`` that are inserted already.
        problems: what is known to be in the way.

    Raises:
        SourceFileError: the result would not be what was meant.
    """
    problems = [*_hand_made(script), *problems]
    problems += [place.problem for place in places if place.problem]
    before = script.source
    if problems:
        told = tuple(dict.fromkeys(problems))
        return Patch(recipe, before, None, places=tuple(places), problems=told)
    after = _inserted(script, places)
    if not marked or after == source:
        return Patch(recipe, before, after, already=bool(marked), places=tuple(places))
    problem = (
        f"its marked lines ({_listed(marked)}) are not those of this release, or were edited: take "
        "them back with --undo, then apply"
    )
    return Patch(recipe, before, None, places=tuple(places), problems=(problem,))


def marked_lines(source: bytes) -> list[int]:
    """The numbers of the lines, from 1, with code and the marker behind it."""
    quoted = _lines_inside_strings(source)
    lines = enumerate(source.splitlines(keepends=True), start=1)
    return [number for number, line in lines if _MARKED.match(line) and number not in quoted]


def remove(source: bytes) -> Removal:
    """Take the marked lines out, whatever else was edited since they went in."""
    lines = source.splitlines(keepends=True)
    marked = marked_lines(source)
    kept = [line for number, line in enumerate(lines, start=1) if number not in set(marked)]
    if kept and marked[-1:] == [len(lines)] and not lines[-1].endswith((b"\n", b"\r")):
        kept[-1] = kept[-1].rstrip(b"\r\n")  # it had no newline before lines came after it
    after = b"".join(kept)
    return Removal(after, tuple(marked), _left_broken(source, after) if marked else "")


def unified(before: bytes, after: bytes, name: str) -> str:
    """The difference as ``git apply`` and ``patch -p1`` read it; empty where there is none."""
    old, new = (_text_lines(source) for source in (before, after))
    difference = difflib.unified_diff(old, new, f"a/{name}", f"b/{name}")
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"
        for line in difference
    )


def manual_steps(result: Patch, name: str) -> str:
    """What to do by hand where the command cannot: what goes where, in which lines."""
    steps = []
    for place in result.places:
        code = textwrap.indent("\n".join(line + MARKER for line in place.lines), " " * 6)
        steps.append(f"  {place.where} {place.what}, add at its indentation:\n{code}")
    reasons = "".join(f"  - {problem}\n" for problem in result.problems)
    recipe = result.recipe
    if recipe.script:
        text = f"{name} was not changed ({recipe.host}'s {recipe.script}):\n{reasons}"
        return text + ("by hand:\n" + "\n".join(steps) + "\n" if steps else "")
    text = f"{name} was not changed:\n{reasons}{_BY_HAND}"
    return text + ("what is certain of this script:\n" + "\n".join(steps) + "\n" if steps else "")


_BY_HAND = (
    "by hand: docs/any-loop.md takes any loop through ConformalSupervision and TwoStage: in stage "
    "I, the loss on unlabelled photos is taken against the label files\n"
)


def _hand_made(script: Script) -> list[str]:
    """Lines that use this package and that no marker tells from the host's own."""
    lines = []
    for node in ast.walk(script.tree):
        modules: list[str] = []
        if isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        if any(module.split(".")[0] == "conformal_plugin" for module in modules):
            lines.append(node.lineno)  # type: ignore[attr-defined]
    if not lines:
        return []
    where = _listed(sorted(lines))
    return [f"it imports conformal_plugin by hand ({where}): take that out, or go on by hand"]


def _inserted(script: Script, places: Sequence[Place]) -> bytes:
    """The script with the lines of every place, checked to change nothing else.

    Raises:
        SourceFileError: the result would not be what was meant.
    """
    lines = list(script.lines)
    # From the end, so that the indices before stay good; places at one index keep their order.
    for place in sorted(places, key=lambda place: place.index or 0)[::-1]:
        index = place.index or 0
        beside = lines[index - 1] if place.where == "after" else lines[index]
        ending = beside[len(beside.rstrip(b"\r\n")) :]
        if ending or place.where == "before":
            new = [line + (ending or _first_ending(lines)) for line in _rendered(place)]
        else:  # the file ends here, without a newline, and so it shall
            new = [_first_ending(lines) + line for line in _rendered(place)]
        lines[index:index] = new
    after = b"".join(lines)
    try:
        done = ast.dump(parse(after))
    except SyntaxError as error:
        raise SourceFileError(
            f"the patched script would not be valid Python (line {error.lineno}: {error.msg}); "
            "nothing was changed: please report this with the script"
        ) from error
    if done != ast.dump(_expected(script, places)):
        raise SourceFileError(
            "the lines would not stand where they are meant to; nothing was changed: please report "
            "this with the script"
        )
    return after


def _rendered(place: Place) -> list[bytes]:
    """The lines of a place, indented as the script is and marked, without a line ending."""
    rendered = []
    for line in place.lines:
        code = line.lstrip(" ")
        deeper = line[: len(line) - len(code)]
        if b"\t" in place.indent:
            deeper = deeper.replace("    ", "\t")
        rendered.append(place.indent + (deeper + code + MARKER).encode("ascii"))
    return rendered


def _expected(script: Script, places: Sequence[Place]) -> ast.Module:
    """The script's tree with the statements of every place beside their anchors."""
    tree, anchors = copy.deepcopy((script.tree, [place.anchor for place in places]))
    befores = [pair for pair in zip(places, anchors) if pair[0].where == "before"]
    afters = [pair for pair in zip(places, anchors) if pair[0].where == "after"]
    for place, anchor in befores + afters[::-1]:
        for body in _bodies(tree):
            if anchor in body:
                at = body.index(anchor) + (place.where == "after")
                body[at:at] = parse("\n".join(place.lines)).body
                break
    return tree


def _bodies(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    """Every list of statements in the tree."""
    for node in ast.walk(tree):
        for _, value in ast.iter_fields(node):
            if isinstance(value, list) and value and isinstance(value[0], ast.stmt):
                yield value


def _left_broken(source: bytes, after: bytes) -> str:
    """Why a script without its marked lines would not work, where it works with them."""
    try:
        script = Script(source)
    except SyntaxError:
        return ""  # it does not work as it is; the marked lines are ours all the same
    try:
        left = Script(after)
    except SyntaxError as error:
        return (
            f"without the marked lines it would not be valid Python (line {error.lineno}: "
            f"{error.msg}): an inserted statement was spread over lines without the marker"
        )
    gone = script.bound().keys() - left.bound().keys()
    used = {name: line for name, line in loaded_names(left.tree).items() if name in gone}
    if not used:
        return ""
    name, line = min(used.items(), key=lambda item: item[1])
    return (
        f"without the marked lines, `{name}` would be used on line {line} and bound nowhere: a "
        "line that is not marked uses what an inserted one binds"
    )


def _text_lines(source: bytes) -> list[str]:
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        text = source.decode(encoding.removesuffix("-sig"))  # a byte order mark is part of line 1
    except (SyntaxError, UnicodeDecodeError):
        text = source.decode("latin-1")
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _first_ending(lines: Sequence[bytes]) -> bytes:
    return lines[0][len(lines[0].rstrip(b"\r\n")) :] or b"\n"


def _lines_inside_strings(source: bytes) -> set[int]:
    """The numbers of lines that end inside a string, where no comment can be."""
    try:
        nodes = list(ast.walk(parse(source)))
    except SyntaxError:
        return set()
    return {
        line
        for node in nodes
        if isinstance(node, (ast.Constant, ast.JoinedStr))
        for line in range(node.lineno, node.end_lineno or node.lineno)
    }


def _listed(lines: Sequence[int]) -> str:
    return f"line{'s' if len(lines) > 1 else ''} {', '.join(map(str, lines))}"
