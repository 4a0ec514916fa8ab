"""Finds and reads the pseudo-label file of each line of a host's id list."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from conformal_plugin._json import parsed
from conformal_plugin.errors import SourceFileError
from conformal_plugin.files import Naming, read_label

__all__ = ["PseudoLabelFolder"]

_SHOWN = 5
_SETTINGS = "labels.json"
"""What `conformal-plugin filter` leaves beside the labels."""


class PseudoLabelFolder:
    """The label PNGs of a folder, addressed by the lines of a host's id list.

    A line is ``IMAGE MASK`` (or ``IMAGE`` alone), separated by a space. The pseudo-label of
    ``leftImg8bit/aachen/a_01.png`` is the first that exists of ``leftImg8bit/aachen/a_01.png``,
    ``aachen/a_01.png`` and ``a_01.png`` in the folder; a photo's ending such as ``_leftImg8bit``
    may be missing there.

    Args:
        folder: where the PNGs lie, as ``conformal-plugin filter`` wrote them.
        lines: the host's id list; repeated lines are looked up once.

    Raises:
        SourceFileError: the folder is missing, a line is blank, an id has no pseudo-label, two
            photos with the same file name would share one, or the labels hold the numbers of masks
            instead of classes. All ids are looked up now, before a training run starts.
    """

    def __init__(self, folder: str | os.PathLike[str], lines: Iterable[str]) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise SourceFileError(
                f"expected a folder of pseudo-label PNGs at {self.folder}, but there is none; make "
                "them with `conformal-plugin filter`, or correct the path"
            )
        _refuse_own_numbers(self.folder / _SETTINGS)
        photos = dict.fromkeys(map(_photo_of, lines))
        if "" in photos:
            raise SourceFileError("the host's id list has a blank line; take it out")
        files = {photo: self._find(photo) for photo in photos}
        missing = [photo for photo, file in files.items() if file is None]
        if missing:
            raise self._missing(missing, len(files))
        self._refuse_shared(files)

    def read(self, line: str) -> npt.NDArray[np.int32]:
        """The pseudo-label of an id line as class ids ``(H, W)``.

        Raises:
            SourceFileError: the file is missing, damaged, or an image of colours.
        """
        photo = _photo_of(line)
        file = self._find(photo)
        if file is None:
            raise self._missing([photo], 1)
        return read_label(file).astype(np.int32)

    def _find(self, photo: str) -> Path | None:
        names = Naming().candidates(photo, "pseudo-label")
        candidates = (self.folder / f"{name}.png" for name in names)
        return next((file for file in candidates if file.is_file()), None)

    def _missing(self, missing: Sequence[str], total: int) -> SourceFileError:
        shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        return SourceFileError(
            f"{len(missing)} of {total} unlabelled photos have no pseudo-label in {self.folder}: "
            f"{shown}; expected ID.png, ID being the photo's file name: run `conformal-plugin "
            "filter` for them, or take them off the id list"
        )

    def _refuse_shared(self, files: dict[str, Path | None]) -> None:
        first: dict[Path | None, str] = {}
        for photo, file in files.items():
            other = first.setdefault(file, photo)
            if other != photo:
                raise SourceFileError(
                    f"the photos {other} and {photo} share a file name, so {file} cannot be the "
                    "pseudo-label of both; lay the pseudo-labels out in the photos' sub-folders"
                )


def _refuse_own_numbers(settings: Path) -> None:
    """Refuse labels in the numbers of the user's masks, which are no classes."""
    try:
        content = parsed(settings.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # labels of another origin
        return
    if isinstance(content, dict) and "own_numbers" in content:
        raise SourceFileError(
            f"the pseudo-labels in {settings.parent} hold the numbers of the masks, not classes, "
            f"which is what training takes them for; filter again without --own-numbers"
        )


def _photo_of(line: str) -> str:
    """The photo's path in a line ``IMAGE MASK`` of a host's id list."""
    return line.split(" ")[0]
