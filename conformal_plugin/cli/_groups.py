"""From ``--groups`` or ``--group-by`` to the group of every image."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from conformal_plugin._messages import shortened
from conformal_plugin.cli._sharding import Ranks
from conformal_plugin.errors import OptionError, SourceFileError

__all__ = ["groups_of", "share_of"]


def groups_of(arguments: argparse.Namespace, ids: Iterable[str]) -> dict[str, str] | None:
    """The group of each id; None where nothing was said of groups.

    Raises:
        SourceFileError: a file of groups that cannot be read, or names an id's group twice.
        OptionError: an id without a group, or a pattern that is none.
    """
    if arguments.groups is not None:
        table = _table(arguments.groups)
        missing = [name for name in ids if name not in table]
        if missing:
            raise OptionError(
                f"{len(missing)} ids have no group in {arguments.groups}, {missing[0]} for one; "
                f"write a line ID <tab> GROUP for every image, the group of one that is alone "
                f"being its id"
            )
        return {name: table[name] for name in ids}
    if arguments.group_by is not None:
        return {name: _found(arguments.group_by, name) for name in ids}
    return None


def share_of(ids: Sequence[str], groups: Mapping[str, str] | None, ranks: Ranks) -> list[int]:
    """The places of this rank's ids: every image, or every group whole, is one rank's."""
    if groups is None:
        return ranks.share(range(len(ids)))
    mine = set(ranks.share(list(dict.fromkeys(groups[name] for name in ids))))
    return [place for place, name in enumerate(ids) if groups[name] in mine]


def _table(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SourceFileError(
            f"cannot read the groups {path} ({reason}); pass a text file with a line "
            f"ID <tab> GROUP for each image"
        ) from error
    table: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, _, group = (part.strip() for part in line.rstrip("\r").partition("\t"))
        if not name or not group or "\t" in group:
            raise SourceFileError(
                f"line {number} of {path} is {shortened(repr(line))}: expected ID <tab> GROUP"
            )
        if table.setdefault(str(PurePosixPath(name)), group) != group:  # as ids are spelt
            raise SourceFileError(
                f"line {number} of {path} gives the id {name} a second group, {group}; an image is "
                f"in one group"
            )
    return table


def _found(pattern: str, name: str) -> str:
    if pattern == "folder":
        group = str(PurePosixPath(name).parent)
        if group == ".":
            raise OptionError(
                f"--group-by folder takes the folder of an id for its group, and {name} is in "
                f"none; give a pattern, or a file with --groups"
            )
        return group
    try:
        match = re.search(pattern, name)
    except re.error as error:
        raise OptionError(
            f"--group-by {pattern!r} is no regular expression ({error}); for instance 'seq(\\d+)'"
        ) from error
    group = "" if match is None else "-".join(g or "" for g in match.groups()) or match.group()
    if not group:
        raise OptionError(
            f"--group-by {pattern!r} finds nothing in the id {name}; give a pattern that every id "
            f"has, or a file with --groups"
        )
    return group
