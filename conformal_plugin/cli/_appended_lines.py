"""A file of facts by name, to which any number of processes append, and which no crash spoils."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import Final

from conformal_plugin._atomic import atomic_open

__all__ = ["AppendedLines"]

_STALE: Final = 1000
"""Lines about what was noted again, beside one for each name, before they are dropped."""


class AppendedLines:
    """One line for each time that a name was noted, the last one counting.

    Each line is appended in one call. One that is cut off, mixed up with another's or does not fit
    its checksum is passed over, which costs that its facts are found again.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._found: dict[str, bytes] | None = None
        self._number_of_lines = 0

    def tidy(self) -> None:
        """Leave one line a name, where many have more. For the first process of a run alone."""
        found = self._lines()
        if self._number_of_lines > 2 * len(found) + _STALE:
            with atomic_open(self._path) as handle:
                handle.writelines(_line(name, facts) for name, facts in found.items())

    def find(self, name: str) -> bytes | None:
        """What was noted last of a name when the file was read; None where nothing was."""
        return self._lines().get(name)

    def add(self, name: str, facts: bytes) -> None:
        """Note facts, JSON in one line.

        Raises:
            OSError: they cannot be noted; names the file.
        """
        try:
            number = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                os.write(number, _line(name, facts))
            finally:
                os.close(number)
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error

    def _lines(self) -> dict[str, bytes]:
        """What each name's last whole line says; unparsed, as most may not be asked for."""
        if self._found is None:
            try:
                content = self._path.read_bytes()
            except OSError:  # none yet, or none that can be read
                content = b""
            whole = [parts for parts in map(_parts, content.split(b"\n")) if parts is not None]
            self._number_of_lines = len(whole)
            self._found = dict(whole)
        return self._found


def _line(name: str, facts: bytes) -> bytes:
    """A line of the file: what a killed process left half written ends where it begins."""
    content = json.dumps(name).encode() + b"\t" + facts
    return b"\n%08x %s" % (zlib.crc32(content), content)


def _parts(line: bytes) -> tuple[str, bytes] | None:
    """Name and facts of a line; None where it is no whole one."""
    check, _, content = line.partition(b" ")
    if not content or check != b"%08x" % zlib.crc32(content):
        return None
    name, _, facts = content.partition(b"\t")
    return json.loads(name), facts
