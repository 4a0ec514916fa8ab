"""Beside a review: the figures of each photo that was read, so that a killed run goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from conformal_plugin.cli._appended_lines import AppendedLines
from conformal_plugin.files import FileState
from conformal_plugin.review import PhotoFigures

__all__ = ["RECORD", "ReviewRecord"]

RECORD: Final = "review.done"


class ReviewRecord:
    """Figures of photos, each believed where it was made with the same settings from the same map.

    Args:
        folder: of the review.
        settings: what figures depend on besides the maps; plain JSON values.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._lines = AppendedLines(folder / RECORD)
        self._settings = json.dumps(settings)

    def tidy(self) -> None:
        """Drop what was noted again. For the first process of a run alone."""
        self._lines.tidy()

    def find(self, name: str, path: Path, state: FileState) -> PhotoFigures | None:
        """The figures of a photo whose map is as it was; None where none are known.

        Args:
            name: the id.
            path: its map.
            state: that the map is in now.
        """
        noted = self._lines.find(name)
        if noted is None:
            return None
        origin, pixels, set_size, unsure, lost, labels = json.loads(noted)
        if origin != self._origin(path, state):
            return None
        return PhotoFigures(pixels, set_size, unsure, lost, dict(labels))

    def add(self, name: str, path: Path, state: FileState, figures: PhotoFigures) -> None:
        """Note the figures of a photo.

        Args:
            name: the id.
            path: its map.
            state: that the map was in when it was read.
            figures: what was found.

        Raises:
            OSError: they cannot be noted.
        """
        numbers = [figures.pixels, figures.set_size, figures.unsure, figures.lost]
        facts = [self._origin(path, state), *numbers, sorted(figures.labels.items())]
        self._lines.add(name, json.dumps(facts, separators=(",", ":")).encode())

    def _origin(self, path: Path, state: FileState) -> str:
        made_from = json.dumps([self._settings, path.name, state.size, state.modified])
        return hashlib.sha256(made_from.encode()).hexdigest()
