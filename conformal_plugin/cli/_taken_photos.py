"""Photos as an annotator reads them, and whether a map that is there was made from one."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from conformal_plugin.errors import SourceFileError
from conformal_plugin.files import (
    FileState,
    StoreEntry,
    Window,
    checksum,
    photo_orientation,
    photo_size,
    read_in_window,
    read_photo,
    take,
)

__all__ = ["PhotoRead", "TakenPhotos"]

# Size and time of the file, checksum of the pixels, little-endian.
_SOURCE: Final = struct.Struct("<QqI")


@dataclass(frozen=True)
class PhotoRead:
    """What tells the photo that was read.

    Attributes:
        state: that of its file.
        checksum: of its pixels.
    """

    state: FileState
    checksum: int


class TakenPhotos:
    """Photos by their ids. :meth:`read` may be called in several threads.

    Args:
        paths: the photo of each id.
        follow_exif: whether they are turned as their EXIF says.
        window: what makes 8 bits of volumes, and of images of other values; None for photos.
    """

    def __init__(
        self,
        paths: Mapping[str, Path],
        *,
        follow_exif: bool = False,
        window: Window | None = None,
    ) -> None:
        self.paths = paths
        self.follow_exif = follow_exif
        self.window = window
        self.turned: list[str] = []
        """Ids of photos read whose EXIF says that they are to be turned."""
        self._read: dict[str, PhotoRead] = {}

    def read(self, name: str) -> npt.NDArray[np.uint8]:
        """The photo of an id.

        Raises:
            SourceFileError: unreadable, or it changed meanwhile.
        """
        path = self.paths[name]
        taken = take(partial(self._pixels, path), path)
        if self.window is None and photo_orientation(path) != 1:
            self.turned.append(name)
        self._read[name] = PhotoRead(taken.states[0], checksum(taken.value))
        return taken.value

    def what_was_read(self, name: str) -> PhotoRead:
        """What tells the photo that was last read under an id."""
        return self._read[name]

    def source(self, name: str) -> bytes:
        """The same, as a store keeps it."""
        read = self._read[name]
        return _SOURCE.pack(read.state.size, read.state.modified, read.checksum)

    def made(self, name: str, entry: StoreEntry) -> bool:
        """Whether a map was made from the photo that is there now.

        A photo that was copied has another time and the same pixels. Where a map says nothing, as
        in stores of earlier releases, its size alone can tell. A photo that cannot be read is none
        that a map was made from; reading it will say what is wrong.
        """
        path = self.paths[name]
        try:
            if len(entry.source) != _SOURCE.size:
                return photo_size(path, follow_exif=self.follow_exif) == entry.shape[1:]
            size, modified, pixels = _SOURCE.unpack(entry.source)
            if FileState.of(path) == FileState(size, modified):
                return True
            return checksum(self._pixels(path)) == int(pixels)
        except SourceFileError:
            return False

    def _pixels(self, path: Path) -> npt.NDArray[np.uint8]:
        if self.window is not None:
            return read_in_window(path, self.window)
        return read_photo(path, follow_exif=self.follow_exif)
