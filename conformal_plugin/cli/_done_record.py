"""Beside a folder of labels: what each file was when it was written, so that none is read again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from conformal_plugin.cli._appended_lines import AppendedLines

__all__ = ["RECORD", "DoneLabel", "DoneRecord", "FileTimes"]

RECORD: Final = "labels.done"


@dataclass(frozen=True)
class DoneLabel:
    """A label that an earlier run has written.

    Attributes:
        counts: pixels of each label in it.
        num_classes: of the scores that it was made from; None in files of earlier releases.
        checksum: of what was read for it; None likewise.
    """

    counts: Mapping[int, int]
    num_classes: int | None
    checksum: int | None


@dataclass(frozen=True)
class FileTimes:
    """What tells that a file is the one that was written, without reading it.

    Attributes:
        size: in bytes.
        content: when its content was written, in nanoseconds, which a program can set.
        entry: when anything of it was changed, which no program can; on Windows when it was made.
    """

    size: int
    content: int
    entry: int

    @classmethod
    def of(cls, path: Path) -> FileTimes | None:
        """Those of a file as it is now; None where there is none."""
        try:
            status = os.stat(path)
        except OSError:
            return None
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class DoneRecord:
    """One line for each label that was written or read, the last one of a label counting.

    A line is believed where its checksum fits, the label was made from the same files with the same
    settings, and its own file has the size and the times that it had: one that was altered,
    replaced or copied has others, and is read again.

    Args:
        folder: of the labels.
    """

    def __init__(self, folder: Path) -> None:
        self._lines = AppendedLines(folder / RECORD)

    def tidy(self) -> None:
        """Leave one line a label, where many have more. For the first process of a run alone."""
        self._lines.tidy()

    def find(self, name: str, times: FileTimes, origin: str) -> DoneLabel | None:
        """What is known of a label whose file is as it was; None where that is nothing.

        Args:
            name: the id.
            times: of the label's file.
            origin: what it would be made from.
        """
        facts = self._lines.find(name)
        if facts is None:
            return None
        size, content, entry, made_from, num_classes, checksum, counts = json.loads(facts)
        if (FileTimes(size, content, entry), made_from) != (times, origin):
            return None
        return DoneLabel(dict(counts), num_classes, checksum)

    def add(self, name: str, times: FileTimes | None, origin: str, label: DoneLabel) -> None:
        """Note a label.

        Args:
            name: the id.
            times: of its file, after it was written or before it was read; None where somebody has
                taken it away already.
            origin: what it was made from.
            label: what to note.

        Raises:
            OSError: it cannot be noted; names the record.
        """
        if times is None:
            return
        facts = [times.size, times.content, times.entry, origin, label.num_classes, label.checksum]
        counts = sorted(label.counts.items())
        noted = json.dumps([*facts, counts], separators=(",", ":"))
        self._lines.add(name, noted.encode())
