"""Reading the maps of one folder, which come from one annotator."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from conformal_plugin.errors import ShapeError, SourceFileError
from conformal_plugin.files._ids import IdList, find_files
from conformal_plugin.files._large_maps import open_map
from conformal_plugin.files._lazy import LazySequence
from conformal_plugin.files._maps import MAP_SUFFIXES, ScoreMap, read_any_map
from conformal_plugin.files._memory import LARGEST_MAP_BYTES
from conformal_plugin.files._naming import Naming
from conformal_plugin.files._readers import suffixes
from conformal_plugin.files._store import STORE_MANIFEST, STORE_SUFFIX, MapStore
from conformal_plugin.scores import ScoreParts

__all__ = ["LARGE_MAP_BYTES", "MapReader", "map_files"]

LARGE_MAP_BYTES: Final = 2**28
"""Size of a file from which on its map is read part by part, where that can be done."""


class MapReader:
    """Reads maps as :func:`conformal_plugin.files.read_map` does, and refuses strays.

    A map of a store carries its annotator's digest. All maps of a folder must carry the one that
    ``store.json`` gives; where there is none, that of the first map that is read.

    Args:
        folder: where the maps lie.
        key: the array's name in a file of several.
        max_bytes: the largest map that is read, in bytes of its scores.

    Raises:
        SourceFileError: the folder's ``store.json`` is damaged.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        key: str | None = None,
        max_bytes: int = LARGEST_MAP_BYTES,
    ) -> None:
        self._folder = Path(folder)
        self._key = key
        self._max_bytes = max_bytes
        self._annotator: bytes | None = None
        self._said_by = f"{self._folder / STORE_MANIFEST}"
        if (self._folder / STORE_MANIFEST).exists():
            self._annotator = MapStore.open(self._folder).digest

    def in_parts(self, path: Path) -> ScoreMap | ScoreParts:
        """The scores; of a large map whose file can be read part by part, a way to read it so.

        Raises:
            SourceFileError, ShapeError: as for a call.
        """
        if path.stat().st_size > LARGE_MAP_BYTES:
            with suppress(SourceFileError, ShapeError):  # what cannot be read so is read whole
                return open_map(path, self._key)
        return self(path)

    def __call__(self, path: Path) -> ScoreMap:
        """The scores ``(K, H, W)`` or ``(K, D, H, W)`` of a map file.

        Raises:
            SourceFileError: as for ``read_map``, or the map is another annotator's.
            ShapeError: neither three-dimensional nor four-dimensional.
        """
        found = read_any_map(path, self._key, self._max_bytes)
        if path.suffix == STORE_SUFFIX:
            if self._annotator is None:
                self._annotator, self._said_by = found.annotator, str(path)
            elif found.annotator != self._annotator:
                raise SourceFileError(
                    f"the map {path} is of another annotator than {self._said_by}; take it out of "
                    f"{self._folder}, or make it again with this folder's annotator"
                )
        return found.scores


def map_files(
    folder: str | os.PathLike[str],
    ids: IdList | Sequence[str],
    *,
    key: str | None = None,
    max_bytes: int = LARGEST_MAP_BYTES,
    naming: Naming | None = None,
) -> LazySequence[ScoreMap]:
    """The maps of ``ids`` in ``folder``, each read when it is asked for.

    Args:
        folder: where the maps lie.
        ids: the images' ids, or the list that they stand in.
        key: the array's name in files of several; by default ``"probs"``, or the only one.
        max_bytes: the largest map that is read, in bytes of its scores.
        naming: how the names of photos and maps end; by default as known data sets have it.

    Raises:
        SourceFileError: at once, for ids without a map or with two; later, as
            :func:`conformal_plugin.files.read_map`, or for maps of two annotators.
    """
    known, named = suffixes(MAP_SUFFIXES), naming or Naming()
    if isinstance(ids, IdList):
        ids = ids.below(folder, known, "map", named)
    paths = find_files(folder, ids, known, "map", named)
    return LazySequence(MapReader(folder, key, max_bytes), paths)
