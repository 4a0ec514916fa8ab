"""Writes patched scripts to disk and takes them back, so that nothing is ever lost or half done."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conformal_plugin._atomic import atomic_open, sweep
from conformal_plugin.errors import SourceFileError

__all__ = [
    "BACKUP",
    "Change",
    "backups",
    "drop_backups",
    "find_script",
    "scripts_below",
    "write_all",
]

BACKUP = ".before-conformal"
_NOT_THEIRS = ("site-packages", "node_modules", "__pycache__", "build", "dist")


@dataclass(frozen=True)
class Change:
    """One script: what was read, and what it becomes.

    Attributes:
        path: the file itself, as :func:`find_script` gives it.
        before: its bytes when it was read.
        after: its bytes from now on.
    """

    path: Path
    before: bytes
    after: bytes


def find_script(folder: Path, name: str) -> Path:
    """The file behind ``folder/name``; where that is a symbolic link, the file that it leads to.

    Raises:
        SourceFileError: there is no such file, or it lies outside ``folder``: other folders may
            share it.
    """
    path, root = (folder / name).resolve(), folder.resolve()
    if not path.is_file():
        raise SourceFileError(f"there is no script {name} in {folder}; check the name")
    if root not in path.parents:
        raise SourceFileError(
            f"{name} leads out of {folder}, to {path}, which other folders may share: name that "
            "folder instead, or put a copy in place of the link"
        )
    return path


def scripts_below(folder: Path) -> list[Path]:
    """The Python files in a folder and its sub-folders, without hidden ones and installed ones."""
    return sorted(
        path
        for path in folder.rglob("*.py")
        if path.is_file()
        and not any(
            part.startswith(".") or part in _NOT_THEIRS for part in path.relative_to(folder).parts
        )
    )


def write_all(changes: Sequence[Change], *, keep_backups: bool) -> list[Path]:
    """Write every change, or none where one cannot be written.

    Each file is replaced in one step and keeps its mode. A process that is killed leaves each
    script as it was or as it will be, with its backup, and the same call goes on from there.

    Args:
        changes: what to write.
        keep_backups: leave a copy of what was there beside each script.

    Returns:
        The backups.

    Raises:
        SourceFileError: a script is no longer what was read.
        OSError: it cannot be written; the scripts written before it are put back.
    """
    for change in changes:
        if change.path.read_bytes() != change.before:
            raise SourceFileError(
                f"{change.path} has changed since it was read; nothing was written, run again"
            )
    copies = [_back_up(change) for change in changes] if keep_backups else []
    written: list[Change] = []
    try:
        for change in changes:
            _replace(change.path, change.after)
            written.append(change)
    except BaseException as error:
        _put_back(written, error)
        raise
    for change in changes:
        _sweep(change.path)
    return copies


def _put_back(written: Sequence[Change], error: BaseException) -> None:
    """Take changes back; where that fails, too, say what is left to do.

    Raises:
        SourceFileError: names the scripts that stay changed.
    """
    stuck, problem = [], None
    for change in written:
        try:
            _replace(change.path, change.before)
        except OSError as another:
            stuck.append(change.path)
            problem = another
    if stuck:
        names = ", ".join(str(path) for path in stuck)
        raise SourceFileError(
            f"{error or type(error).__name__}; and these scripts, written before, could not be put "
            f"back ({problem}): {names}. Each is whole; run the same command again when the folder "
            f"can be written to, or --undo"
        ) from error


def backups(path: Path) -> list[Path]:
    """The copies of a script that :func:`write_all` left beside it."""
    pattern = re.compile(re.escape(path.name + BACKUP) + r"(\.\d+)?\Z")
    return sorted(other for other in path.parent.iterdir() if pattern.match(other.name))


def drop_backups(path: Path) -> list[Path]:
    """Delete the backups that hold what the script holds; returns those that differ and stay."""
    _sweep(path)
    content = path.read_bytes()
    differing = []
    for backup in backups(path):
        if backup.read_bytes() == content:
            backup.unlink()
        else:
            differing.append(backup)
    return differing


def _back_up(change: Change) -> Path:
    """A file beside the script that holds what the script held; an older one is not touched."""
    number = 0
    while True:
        backup = change.path.with_name(change.path.name + BACKUP + (f".{number}" if number else ""))
        if not backup.exists():
            _replace(backup, change.before, like=change.path)
            return backup
        if backup.read_bytes() == change.before:
            return backup
        number += 1


def _replace(path: Path, content: bytes, like: Path | None = None) -> None:
    mode = stat.S_IMODE((like or path).stat().st_mode)
    with atomic_open(path) as handle:
        os.chmod(handle.name, mode)
        handle.write(content)


def _sweep(path: Path) -> None:
    """Delete what a killed process left half written of this script or its backups."""
    ours = re.compile(rf"{re.escape(path.name)}({re.escape(BACKUP)}[.\d]*)?")
    sweep([path.parent], ours.fullmatch)
