"""Matching the classes that a model knows by name to the classes that a user wants."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conformal_plugin._json import parsed
from conformal_plugin._messages import shortened
from conformal_plugin.annotators._class_list import ClassList
from conformal_plugin.errors import OptionError, SourceFileError

__all__ = ["REST", "SYNONYMS", "ClassMapping", "map_classes", "read_synonyms"]

REST = "*"
"""In a synonym table: all classes of the model that no other class takes."""

SYNONYMS: tuple[frozenset[str], ...] = tuple(
    frozenset(names.split(", "))
    for names in (
        "aeroplane, airplane, plane",
        "ashcan, trash can, garbage can",
        "bicycle, bike",
        "cell phone, mobile phone",
        "couch, sofa",
        "diningtable, dining table, table",
        "donut, doughnut",
        "fridge, refrigerator",
        "hair drier, hair dryer",
        "minibike, motorbike, motorcycle",
        "mouse, computer mouse",
        "pottedplant, potted plant",
        "remote, remote control",
        "sidewalk, pavement",
        "streetlight, street light, street lamp",
        "tv, tvmonitor, tv monitor, television, television receiver, monitor, crt screen",
    )
)
"""Names that are taken for one class where a model has no class of the wanted name itself."""


@dataclass(frozen=True)
class ClassMapping:
    """Which classes of a model make each wanted class.

    Attributes:
        class_names: the wanted classes.
        members: per wanted class, the indices of the model's classes that make it; their scores
            are added.
        labels: the names of the model's classes.
    """

    class_names: tuple[str, ...]
    members: tuple[tuple[int, ...], ...]
    labels: tuple[str, ...]

    @property
    def table(self) -> dict[str, list[str]]:
        """Wanted class to names of the model's classes: a synonym table that gives this mapping."""
        return {
            name: [self.labels[index] for index in members]
            for name, members in zip(self.class_names, self.members)
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user must know: classes that were joined, never found, or left over."""
        used = {index for members in self.members for index in members}
        left = [label for index, label in enumerate(self.labels) if index not in used]
        lines = [
            f"class {name} is the model's {', '.join(labels)}"
            for name, labels in self.table.items()
            if labels and labels != [name]
        ]
        lines += [
            f"class {name} is never found" for name, labels in self.table.items() if not labels
        ]
        if left:
            lines.append(
                f"{len(left)} classes of the model belong to no class here: {', '.join(left)}"
            )
        return tuple(lines)


def map_classes(
    asked: ClassList, labels: Sequence[str], synonyms: Mapping[str, Sequence[str]] | None = None
) -> ClassMapping:
    """Find the model's classes that make each wanted class.

    A class takes the model's class of its own name; else those that are called as one of its
    prompts; else those that ``SYNONYMS`` lists beside its name or prompts. Case, underscores and
    hyphens do not count, and of a label like ``"building, edifice"`` each name does.

    Args:
        asked: the wanted classes.
        labels: the names of the model's classes.
        synonyms: from wanted classes to names of the model's classes, used for these classes
            instead of the above: an empty list accepts that a class is never found, ``["*"]``
            takes all of the model's classes that no other class takes.

    Raises:
        OptionError: a wanted class without one of the model's and without an entry in
            ``synonyms``; an entry for what is no class on its side; or one of the model's classes
            wanted twice.
    """
    table = {name: list(names) for name, names in (synonyms or {}).items()}
    _refuse_unknown(table, asked.class_names, labels)
    names_of = [_names(label) for label in labels]
    own = {_plain(name) for name in asked.class_names}
    members = []
    for name, prompts in zip(asked.class_names, asked.prompts):
        if name in table:
            members.append(tuple(labels.index(label) for label in table[name] if label != REST))
        else:
            members.append(_found(name, prompts, names_of, own - {_plain(name)}))
    taken = [index for indices in members for index in indices]
    twice = sorted({labels[index] for index in taken if taken.count(index) > 1})
    if twice:
        raise OptionError(
            f"more than one class would take the model's {', '.join(twice)}; say with a synonym "
            f"table which one does (--synonyms on the command line)"
        )
    rest = tuple(index for index in range(len(labels)) if index not in taken)
    members = [
        rest if table.get(name) == [REST] else indices
        for name, indices in zip(asked.class_names, members)
    ]
    lost = [
        name
        for name, indices in zip(asked.class_names, members)
        if not indices and name not in table
    ]
    if lost:
        raise OptionError(
            f"the model has no class for {', '.join(lost)}; its classes are "
            f"{', '.join(labels)}. Give a synonym table (--synonyms on the command line), such as "
            f'{json.dumps({lost[0]: [labels[0]]})}; [] accepts that a class is never found, ["*"] '
            f"takes all that is left over"
        )
    return ClassMapping(asked.class_names, tuple(members), tuple(labels))


def read_synonyms(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Read a synonym table, ``{"CLASS": ["MODEL CLASS", ...]}``.

    Raises:
        SourceFileError: unreadable, or something else.
    """
    try:
        content = parsed(Path(path).read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise SourceFileError(
            f"cannot read the synonym table {path} ({shortened(error)})"
        ) from error
    if not isinstance(content, dict) or not all(
        isinstance(labels, list) and all(isinstance(label, str) for label in labels)
        for labels in content.values()
    ):
        raise SourceFileError(
            f'{path} is no synonym table: write {{"CLASS": ["MODEL CLASS", ...]}} as JSON'
        )
    return content


def _found(
    name: str, prompts: Sequence[str], names_of: Sequence[set[str]], others: set[str]
) -> tuple[int, ...]:
    """The model's classes for one class: by its name, else its prompts, else synonyms."""
    words = {_plain(word) for word in prompts}
    known = {_plain(name)} | words
    related = {word for group in SYNONYMS if group & known for word in group}
    for accepted in ({_plain(name)}, words, related - others):
        indices = tuple(index for index, names in enumerate(names_of) if names & accepted)
        if indices:
            return indices
    return ()


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.strip().lower())


def _names(label: str) -> set[str]:
    parts = [_plain(part) for part in re.split(r"[,;]", label)]
    # COCO's panoptic classes are called "tree-merged", "wall-other-merged" and the like.
    return {re.sub(r"( other)?( merged| stuff)$", "", part) for part in parts} | set(parts)


def _refuse_unknown(
    table: Mapping[str, Sequence[str]], class_names: Sequence[str], labels: Sequence[str]
) -> None:
    for name, wanted in table.items():
        if name not in class_names:
            raise OptionError(
                f"the synonym table has {name!r}, which is no class to look for; the classes are "
                f"{', '.join(class_names)}"
            )
        if REST in wanted and list(wanted) != [REST]:
            raise OptionError(
                f"the synonym table has {REST!r} beside other names for {name!r}; write it alone"
            )
        unknown = [label for label in wanted if label not in labels and label != REST]
        if unknown:
            raise OptionError(
                f"the synonym table has {', '.join(map(repr, unknown))} for {name!r}, which the "
                f"model does not know; its classes are {', '.join(labels)}"
            )
    if sum(list(wanted) == [REST] for wanted in table.values()) > 1:
        raise OptionError(f"the synonym table gives {REST!r} to more than one class; one can be it")
