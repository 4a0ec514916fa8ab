"""Outputs of a command that would replace one of its inputs, or one another."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from conformal_plugin.errors import OptionError
from conformal_plugin.files import STORE_MANIFEST

__all__ = ["named_files", "refuse_folders", "refuse_inputs"]

_Entry = tuple[object, str]

_WRITTEN: Final = {"calibration_out", "id_list", "looks", "out", "output"}
"""Options that name what is written; all others that name a file name one that is read."""
_STORES: Final = {"maps", "own_maps"}


def named_files(arguments: argparse.Namespace) -> dict[str, list[Path]]:
    """The files that options name, and the manifests of stores that they name, by the option."""
    found: dict[str, list[Path]] = {}
    for name, value in vars(arguments).items():
        if name in _WRITTEN:
            continue
        for one in value if isinstance(value, list) else [value]:
            if not isinstance(one, (str, Path)):
                continue
            path = Path(one, STORE_MANIFEST) if name in _STORES else Path(one)
            if _is_file(path):
                found.setdefault(f"--{name.replace('_', '-')}", []).append(path)
    return found


def refuse_folders(arguments: argparse.Namespace, *options: str) -> None:
    """Refuse folders where a file is to be written.

    Args:
        arguments: of the command.
        *options: names of these options in ``arguments``.

    Raises:
        OptionError: names the option.
    """
    for option in options:
        path: Path | None = getattr(arguments, option)
        if path is not None and path.is_dir():
            raise OptionError(
                f"--{option.replace('_', '-')} {path} is a folder; name the file to write"
            )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a text that cannot be a name
        return False


def refuse_inputs(
    outputs: Mapping[str, Iterable[Path | None]], inputs: Mapping[str, Iterable[Path | None]]
) -> None:
    """Refuse to write a file that this run reads, or two things to one, before anything is written.

    Files are replaced by renaming, so that what counts is the name in its folder: a hard link
    elsewhere keeps its content, and a symbolic link is replaced itself. Two ways to the same
    folder, and a name in capitals where the disk does not tell them apart, are the same.

    Args:
        outputs: the files that may be written, by what they are called in the message.
        inputs: the files that are read, likewise; None where an option was not given.

    Raises:
        OptionError: names both.
    """
    folders: dict[str, object] = {}
    written: dict[_Entry, tuple[str, Path]] = {}
    for what, paths in outputs.items():
        for path in paths:
            if path is None:
                continue
            other, first = written.setdefault(_entry(path, folders), (what, path))
            if first is not path and first.name == path.name:
                raise OptionError(
                    f"{what} {path} and {other} are one file, of which one would be lost; choose "
                    f"another place to write to"
                )
    for what, paths in inputs.items():
        for path in paths:
            if path is None:
                continue
            # A link is lost with its target, and the target with itself.
            for one in (path, path.resolve()) if path.is_symlink() else (path,):
                found = written.get(_entry(one, folders))
                if found is not None and _same(found[1], one):
                    raise OptionError(
                        f"{found[0]} {found[1]} is also {what} of this run ({path}), which would "
                        f"be lost; choose another place to write to"
                    )


def _entry(path: Path, folders: dict[str, object]) -> _Entry:
    """A file's place on disk: its folder, however it is called, and its name in small letters."""
    folder, name = os.path.split(path)
    if folder not in folders:
        try:
            status = os.stat(folder or os.curdir)
            folders[folder] = (status.st_dev, status.st_ino)
        except OSError:  # not there yet
            folders[folder] = os.path.realpath(folder)
    return folders[folder], name.casefold()


def _same(output: Path, source: Path) -> bool:
    """Whether two files of one folder, alike but for capitals, are one."""
    if output.name == source.name:
        return True
    try:
        return output.samefile(source)
    except OSError:
        return False
