"""Lists that training code reads: one photo and its label a line."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from conformal_plugin.errors import OptionError

__all__ = ["pair_lines"]


def pair_lines(
    arguments: argparse.Namespace, photos: Sequence[Path], labels: Sequence[Path]
) -> list[str]:
    """Lines ``PHOTO LABEL`` as training code joins them to its data root.

    Args:
        arguments: with ``photos``, ``out`` and ``root``.
        photos: the photos.
        labels: their labels.

    Raises:
        OptionError: a root that does not hold both, or a path with a space.
    """
    folders = (arguments.photos.absolute(), arguments.out.absolute())
    root = (arguments.root or _in_common(folders)).absolute()
    lines = []
    for pair in zip(photos, labels):
        relative = [_relative(path.absolute(), root) for path in pair]
        if root == Path(root.anchor):  # nothing in common: absolute paths join to any data root
            relative = [str(path.absolute()) for path in pair]
        elif any(path.startswith(os.pardir) for path in relative):
            raise OptionError(
                f"--root {arguments.root} does not hold both {pair[0]} and {pair[1]}; name a "
                f"folder that holds photos and labels, or leave it out"
            )
        if any(len(path.split()) != 1 for path in relative):
            raise OptionError(
                f"lines PHOTO LABEL are separated by a space, and {' or '.join(relative)} has one "
                f"in its name; rename it, or leave --photos out"
            )
        lines.append(" ".join(Path(path).as_posix() for path in relative))
    return lines


# Windows has paths on several drives, which are not relative to one another.


def _in_common(folders: Sequence[Path]) -> Path:
    try:
        return Path(os.path.commonpath(folders))
    except ValueError:
        return Path(folders[0].anchor)


def _relative(path: Path, root: Path) -> str:
    try:
        return os.path.relpath(path, root)
    except ValueError:
        return os.pardir
