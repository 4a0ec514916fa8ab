"""Image ids: reading lists of them, and finding the files that they name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

from conformal_plugin._messages import one_line, shortened
from conformal_plugin.errors import SourceFileError

__all__ = ["IdFolder", "IdList", "checked_id", "find_files", "ids_in_folder", "read_ids"]

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_SHOWN = 5


@dataclass(frozen=True)
class IdList:
    """Ids in the order of their first mention.

    Attributes:
        ids: each id once. An id is a relative path without extension, with ``/`` between folders.
        repeated: ids that were listed more than once, each once. Training code repeats its
            labelled ids to match the unlabelled ones; counting an image twice would claim more
            calibration data than there is.
    """

    ids: tuple[str, ...]
    repeated: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)


def read_ids(path: str | os.PathLike[str]) -> IdList:
    """Read an id list: one id a line, or lines ``PHOTO LABEL`` as training code keeps them.

    A line of two image paths, such as ``JPEGImages/000039.jpg SegmentationClass/000039.png``,
    gives the file name of the first without its extension. Any other line is an id as it stands;
    ids may hold spaces and subfolders. Blank lines, CRLF and a byte order mark are tolerated.

    Raises:
        SourceFileError: no such file, not UTF-8, no id in it, or an id that is absolute or leaves
            its folder with ``..``; names the line.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise SourceFileError(
            f"cannot read the id list {path} ({error.strerror or error}); pass a text file with "
            f"one id a line"
        ) from error
    except UnicodeDecodeError as error:
        raise SourceFileError(
            f"the id list {path} is not UTF-8 text ({error}); pass a text file with one id a line"
        ) from error
    ids = [
        checked_id(_id_of_line(line), f"line {number} of {path}")
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    if not ids:
        raise SourceFileError(f"the id list {path} holds no id; write one id a line")
    return _once_each(ids)


def ids_in_folder(
    folder: str | os.PathLike[str], suffixes: Sequence[str], what: str = "file"
) -> IdList:
    """The ids of all files in ``folder`` and its subfolders with one of ``suffixes``, sorted.

    Hidden files and folders are passed over.

    Raises:
        SourceFileError: no such folder, or no such file in it.
    """
    root = _checked_folder(folder, what)
    relative = (path.relative_to(root) for path in root.rglob("*") if path.suffix in suffixes)
    ids = {
        path.with_suffix("").as_posix()
        for path in relative
        if not any(part.startswith(".") for part in path.parts)
    }
    if not ids:
        raise SourceFileError(
            f"there is no {what} ({', '.join(suffixes)}) in {folder}; check the folder"
        )
    return IdList(tuple(sorted(ids)))


def find_files(
    folder: str | os.PathLike[str], ids: Iterable[str], suffixes: Sequence[str], what: str = "file"
) -> list[Path]:
    """The file ``folder/ID + suffix`` of each id, in order.

    Args:
        folder: where to look.
        ids: ids as :func:`read_ids` gives them.
        suffixes: the extensions to try, with their dot.
        what: what the files are, for messages: ``"map"``, ``"label"``, ``"photo"``.

    Raises:
        SourceFileError: no such folder; ids without a file (all are looked up, the first few and
            their number are named); or an id with two files.
    """
    root = _checked_folder(folder, what)
    found: list[Path] = []
    missing: list[str] = []
    total = 0
    for name in ids:
        total += 1
        checked_id(name, "the list of ids")
        candidates = [root / f"{name}{suffix}" for suffix in suffixes]
        present = [path for path in candidates if path.is_file()]
        if len(present) > 1:
            raise SourceFileError(
                f"id {name} has {len(present)} {what}s in {folder}: "
                f"{', '.join(path.name for path in present)}; keep one of them"
            )
        found += present
        if not present:
            missing.append(name)
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        raise SourceFileError(
            f"{len(missing)} of {total} ids have no {what} in {folder} (looked for "
            f"ID{', ID'.join(suffixes)}): {shown}; check the folder, or take them off the id list"
        )
    return found


class IdFolder:
    """The files that are written for ids, which lie in one folder whatever links are there.

    Args:
        folder: where they lie.
        suffix: how their names end.
        what: what the folder is, for messages.
    """

    def __init__(self, folder: Path, suffix: str, what: str) -> None:
        self._folder = folder
        self._suffix = suffix
        self._what = what
        self._inside: set[Path] = set()

    def path(self, name: str) -> Path:
        """The file of an id.

        Raises:
            SourceFileError: an id that leaves the folder, by its name or through a link.
        """
        checked = checked_id(name, "the list of ids")
        path = self._folder / f"{checked}{self._suffix}"
        # Only a folder on the way can be a link, and asking the disk is dear.
        if "/" in checked and path.parent not in self._inside:
            parent = path.parent.resolve()
            if not parent.is_relative_to(self._folder.resolve()):
                raise SourceFileError(
                    f"id {name} leads out of the {self._what} {self._folder}, to {parent}; "
                    f"remove that link, or choose another folder"
                )
            self._inside.add(path.parent)
        return path


def _id_of_line(line: str) -> str:
    fields = line.split()
    if len(fields) == 2 and all(field.lower().endswith(_IMAGE_SUFFIXES) for field in fields):
        return PurePosixPath(fields[0]).stem
    return line.strip()


def checked_id(name: str, where: str) -> str:
    """``name`` in its one spelling: ``a//./b`` is ``a/b``.

    Args:
        name: an id.
        where: where it stands, for the message: ``"line 3 of ids.txt"``.

    Raises:
        SourceFileError: empty, absolute, with control characters, or leaving its folder.
    """
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    leaves = ".." in posix.parts or ".." in windows.parts or posix.anchor or windows.anchor
    if leaves or not posix.parts or not one_line(name):
        raise SourceFileError(
            f"{where} has the id {shortened(repr(name))}: an id is a relative path without "
            f"extension that stays inside its folder, such as 2007_000039 or aachen/000001, and "
            f"holds no control characters or halves of characters"
        )
    return str(posix)


def _once_each(ids: Sequence[str]) -> IdList:
    times: dict[str, int] = {}
    for name in ids:
        times[name] = times.get(name, 0) + 1
    return IdList(tuple(times), tuple(name for name, n in times.items() if n > 1))


def _checked_folder(folder: str | os.PathLike[str], what: str) -> Path:
    root = Path(folder)
    if not root.is_dir():
        raise SourceFileError(f"the {what} folder {folder} is not a folder; check the path")
    return root
