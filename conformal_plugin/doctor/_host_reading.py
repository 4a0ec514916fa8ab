"""How a host's own code reads its id lists and masks, told from its text; nothing of it is run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Conversion", "HostReading"]

_MASK = re.compile(r"mask|label|gt|target|seg", re.IGNORECASE)
_PLACE = re.compile(r"\w[\w./-]*/[\w.-]*\{\}[\w./-]*")  # below a folder, one blank in it
_OPENERS = {"open", "imread", "File"}
_MOST_FILES = 500
_MOST_BYTES = 1_000_000


@dataclass(frozen=True)
class Conversion:
    """A place that reads a mask as brightness: ``.convert("L")``, or a loader told ``"L"``.

    Attributes:
        place: the file, as seen from the host's folder, and the line.
        text: the line.
    """

    place: str
    text: str


@dataclass(frozen=True)
class HostReading:
    """What the host's code does with a line of an id list and with a mask.

    Attributes:
        opens: whether it opens a file itself, so that it can be told how.
        second_column: whether it takes the second column of a line.
        photos: where below ``data_root`` it looks for the photo of a line of one column, ``{}``
            standing for the line: ``A/{}`` and ``B/{}`` of change detection,
            ``JPEGImages/{}.jpg``. Those of all data sets that its code knows.
        masks: the same for masks.
        halves: whether it divides masks by 255, so that a mask of 0 and 255 has classes 0 and 1.
        conversions: where it reads masks as brightness.
    """

    opens: bool
    second_column: bool
    photos: tuple[str, ...]
    masks: tuple[str, ...]
    halves: bool
    conversions: tuple[Conversion, ...]

    @classmethod
    def of(cls, host: Path, scripts: Iterable[Path]) -> HostReading:
        """What scripts, and what they import of the host's folder, show.

        Args:
            host: the folder that the scripts are started in.
            scripts: their files.
        """
        opens, second, halves = False, False, False
        places: dict[bool, dict[str, None]] = {True: {}, False: {}}  # of masks, and of photos
        conversions = []
        for path, source, tree in _modules(host, scripts):
            lines = source.splitlines()
            for node in ast.walk(tree):
                opens |= _opens(node)
                second |= _takes_second_column(node)
                if formatted := _formatted(node):
                    places[bool(_MASK.search(formatted))][formatted] = None
                if not isinstance(node, ast.Assign):
                    continue
                of_mask = any(map(_MASK.search, _targets(node)))
                places[of_mask].update(dict.fromkeys(_joined(node.value)))
                halves |= of_mask and _divides_by_255(node.value)
                if of_mask and _reads_brightness(node.value):
                    place = f"{path.relative_to(host).as_posix()}, line {node.lineno}"
                    conversions.append(Conversion(place, lines[node.lineno - 1].strip()))
        masks, photos = places[True], places[False]
        return cls(
            opens,
            second,
            tuple(place for place in photos if place not in masks),
            tuple(masks),
            halves,
            tuple(conversions),
        )


def _modules(host: Path, scripts: Iterable[Path]) -> Iterator[tuple[Path, str, ast.Module]]:
    """Scripts and the modules of the host's folder that they import, with their text."""
    waiting, seen = list(scripts), set[Path]()
    while waiting and len(seen) < _MOST_FILES:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        try:
            if path.stat().st_size > _MOST_BYTES:
                continue
            source = path.read_text(encoding="utf-8")
            tree = ast.parse(source)
        except (OSError, ValueError, SyntaxError, RecursionError):
            continue  # nothing is known of it
        yield path, source, tree
        waiting += [file for file in _imported(tree, path, host) if file.is_file()]


def _imported(tree: ast.Module, path: Path, host: Path) -> Iterator[Path]:
    """Where the host's own modules that a file imports would lie."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _files_of(host, alias.name.split("."))
        elif isinstance(node, ast.ImportFrom):
            inside = path.parents[node.level - 1] if node.level else host
            parts = (node.module or "").split(".") if node.module else []
            yield from _files_of(inside, parts)
            for alias in node.names:
                yield from _files_of(inside, [*parts, alias.name])


def _files_of(folder: Path, parts: Sequence[str]) -> tuple[Path, ...]:
    if not parts:
        return ()
    place = folder.joinpath(*parts)
    return place.with_suffix(".py"), place / "__init__.py"


def _targets(node: ast.Assign) -> Iterator[str]:
    for target in node.targets:
        for part in ast.walk(target):
            if isinstance(part, ast.Name):
                yield part.id
            elif isinstance(part, ast.Attribute):
                yield part.attr


def _opens(node: ast.AST) -> bool:
    """Whether it is `Image.open(...)` or the like of other libraries."""
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in _OPENERS
    )


def _takes_second_column(node: ast.AST) -> bool:
    """Whether it is `LINE.split(...)[1]`."""
    return (
        isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Constant)
        and node.slice.value == 1
        and isinstance(node.value, ast.Call)
        and isinstance(node.value.func, ast.Attribute)
        and node.value.func.attr == "split"
    )


def _formatted(node: ast.AST) -> str:
    """`"FOLDER/{}.png"` of `"FOLDER/{}.png".format(...)`; empty for anything else."""
    if (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == "format"
        and isinstance(node.func.value, ast.Constant)
        and isinstance(node.func.value.value, str)
        and len(node.args) == 1
    ):
        return node.func.value.value if _PLACE.fullmatch(node.func.value.value) else ""
    return ""


def _joined(made: ast.AST) -> Iterator[str]:
    """`FOLDER/{}` of each `join(ROOT, "FOLDER", LINE)`, LINE being a name: the whole line."""
    for node in ast.walk(made):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr == "join"
            and len(node.args) == 3
            and isinstance(node.args[1], ast.Constant)
            and isinstance(node.args[1].value, str)
            and isinstance(node.args[2], ast.Name)
        ):
            place = f"{node.args[1].value}/{{}}"
            if _PLACE.fullmatch(place):
                yield place


def _divides_by_255(made: ast.AST) -> bool:
    return any(
        isinstance(node, ast.BinOp)
        and isinstance(node.op, (ast.Div, ast.FloorDiv))
        and isinstance(node.right, ast.Constant)
        and node.right.value in (255, 255.0)
        for node in ast.walk(made)
    )


def _reads_brightness(made: ast.AST) -> bool:
    """Whether an opened file is made grey; what is made of an array, or new, is so already."""
    calls = [node for node in ast.walk(made) if isinstance(node, ast.Call)]
    names = {
        node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        for node in calls
    }
    if names & {"fromarray", "new"}:
        return False
    arguments = [argument for node in calls for argument in node.args]
    return any(isinstance(one, ast.Constant) and one.value == "L" for one in arguments)
