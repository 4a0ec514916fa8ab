"""The lines of a host's id list, taken apart as the host does it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["IdLine", "NotKnownError", "drawn", "read_lines"]


class NotKnownError(LookupError):
    """What a check needs is not at hand, so it cannot be made; the message says why."""


@dataclass(frozen=True)
class IdLine:
    """A line of a host's id list.

    Attributes:
        number: of the line, from 1.
        text: the whole line.
        photo: what stands before the first space.
        mask: what stands between the first and the second; None where there is no space.
    """

    number: int
    text: str
    photo: str
    mask: str | None


def read_lines(path: Path | None, option: str) -> list[IdLine]:
    """The lines of a list.

    Raises:
        NotKnownError: ``option`` was not given, or the file cannot be read.
    """
    if path is None:
        raise NotKnownError(f"{option} was not given")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or "not UTF-8"
        raise NotKnownError(f"the list {path} cannot be read ({reason})") from problem
    found = []
    for number, text in enumerate(lines, start=1):
        photo, *rest = text.split(" ")
        found.append(IdLine(number, text, photo, rest[0] if rest else None))
    return found


def drawn(lines: Sequence[IdLine], most: int) -> list[IdLine]:
    """Each photo of a list once, at most ``most`` of them, the same ones every time."""
    photos = list({line.photo: line for line in lines if line.photo}.values())
    if len(photos) <= most:
        return photos
    chosen = sorted(random.Random(0).sample(range(len(photos)), most))
    return [photos[index] for index in chosen]
