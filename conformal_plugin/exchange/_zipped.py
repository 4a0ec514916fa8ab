"""Files inside the archives that tools export, without unpacking what was not asked for."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Final

from conformal_plugin.errors import SourceFileError
from conformal_plugin.files import decoding

__all__ = ["Archive", "member"]

_PIECE: Final = 2**20


def member(path: Path, name: str, remedy: str) -> Iterator[bytes]:
    """A file piece by piece: ``path`` itself, or the one called ``name`` where that is an archive.

    Raises:
        SourceFileError: unreadable, or no such file in it.
    """
    with decoding(f"the file {path}", remedy):
        zipped = zipfile.is_zipfile(path)
        archive = zipfile.ZipFile(path) if zipped else None
    file: IO[bytes]
    if archive is None:
        with decoding(f"the file {path}", remedy):
            file = path.open("rb")
    else:
        found = [inside for inside in archive.namelist() if PurePosixPath(inside).name == name]
        if len(found) != 1:
            raise SourceFileError(
                f"the archive {path} holds {len(found)} files called {name} where one was "
                f"expected; {remedy}"
            )
        with decoding(f"the file {path}", remedy):
            file = archive.open(found[0])
    with file:
        while True:
            with decoding(f"the file {path}", remedy):
                piece = file.read(_PIECE)
            if not piece:
                return
            yield piece


class Archive:
    """The files of a folder, or of an archive, by their paths below a root.

    Args:
        path: the folder or the archive.
        root: a file that lies at the top of what is meant, maybe below other folders.
        remedy: what to do where it is not as it should be.

    Raises:
        SourceFileError: unreadable, or without that file.
    """

    def __init__(self, path: Path, root: str, remedy: str) -> None:
        self._path = path
        self._remedy = remedy
        self._archive: zipfile.ZipFile | None = None
        if path.is_dir():
            names = [each.relative_to(path).as_posix() for each in path.rglob("*")]
        else:
            with decoding(f"the archive {path}", remedy):
                self._archive = zipfile.ZipFile(path)
                names = self._archive.namelist()
        tops = [name[: -len(root)] for name in names if f"/{name}".endswith(f"/{root}")]
        if len(tops) != 1:
            raise SourceFileError(
                f"{path} holds {len(tops)} files {root} where one was expected; {remedy}"
            )
        self._top = tops[0]
        self._names = {name[len(self._top) :] for name in names if name.startswith(self._top)}

    def files(self, folder: str, suffix: str) -> list[str]:
        """The paths of the files below a folder that end so, sorted."""
        return sorted(
            name for name in self._names if name.startswith(f"{folder}/") and name.endswith(suffix)
        )

    def read(self, name: str, most: int) -> bytes:
        """A file's content.

        Args:
            name: its path below the root.
            most: bytes that are no attack.

        Raises:
            SourceFileError: unreadable, or larger.
        """
        if self._archive is None:
            with decoding(f"the file {self._path / self._top / name}", self._remedy):
                size = (self._path / self._top / name).stat().st_size
                content = b"" if size > most else (self._path / self._top / name).read_bytes()
        else:
            with decoding(f"{name} in {self._path}", self._remedy):
                size = self._archive.getinfo(self._top + name).file_size
                content = b"" if size > most else self._archive.read(self._top + name)
        if size > most:
            raise SourceFileError(
                f"{name} in {self._path} is {size} bytes large, more than it can need; "
                f"{self._remedy}"
            )
        return content
