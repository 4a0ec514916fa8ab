"""Which file of a folder belongs to an image: one rule for photos, maps, labels, pseudo-labels."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

__all__ = ["KNOWN_ENDINGS", "FolderOfFiles", "Naming", "below", "tails"]

KNOWN_ENDINGS = (
    ("_leftImg8bit", "_gtFine_labelTrainIds"),  # Cityscapes
    ("_rgb_anon", "_gt_labelTrainIds"),  # ACDC
    ("", "_labelTrainIds"),  # COCO-Stuff as mmsegmentation prepares it
    ("", "_mask"),  # medical folders, salient objects
    ("", "_segmentation"),  # ISIC
)
"""How data sets end the names of a photo and of its mask, before the extension."""

_FOLDERS_OF_IDS = {"_leftImg8bit": 1, "_rgb_anon": 1}
"""Folders that belong to an image's name: a city, a drive."""


@dataclass(frozen=True)
class Naming:
    """How the names of an image's files end, before the extension.

    An image called ``aachen_1`` may have the photo ``aachen_1_leftImg8bit.png`` and the mask
    ``aachen_1_gtFine_labelTrainIds.png``. The endings of known data sets are tried by themselves;
    what is given here is tried alone.

    Attributes:
        photo: how photos end, ``"_leftImg8bit"`` for instance; None for those that are known.
        label: how true masks end, likewise.
        map: how score maps end, likewise.
    """

    photo: str | None = None
    label: str | None = None
    map: str | None = None

    def own_name(self, stem: str) -> str:
        """A name without its photo's ending."""
        known = [photo for photo, _ in KNOWN_ENDINGS] if self.photo is None else [self.photo]
        for ending in known:
            if ending and stem.endswith(ending) and len(PurePosixPath(stem).name) > len(ending):
                return stem.removesuffix(ending)
        return stem

    def stems(self, stem: str, what: str) -> list[str]:
        """The names that a file of an image may have, without extension.

        Args:
            stem: the image's id, or its photo's path without extension.
            what: ``"photo"``, ``"label"`` or ``"map"``; other files are named as the image is.
        """
        own = self.own_name(stem)
        given = getattr(self, what, None) if what in ("photo", "label", "map") else None
        if given is not None:
            return [own + given]
        columns = {"photo": 0, "label": 1}
        known = [pair[columns[what]] for pair in KNOWN_ENDINGS] if what in columns else []
        return list(dict.fromkeys([stem, own, *(own + ending for ending in known)]))

    def candidates(self, path: str, what: str) -> Iterator[str]:
        """The names, longest first, that the file of a listed photo may have in any folder.

        Args:
            path: the photo's path in the list.
            what: as for :meth:`stems`.
        """
        for tail in tails(path):
            yield from self.stems(str(PurePosixPath(tail).with_suffix("")), what)

    def is_mask_of(self, stem: str) -> list[str]:
        """The names that the photo has if a file of this name is its mask."""
        endings = [label for _, label in KNOWN_ENDINGS] if self.label is None else [self.label]
        return [
            one
            for ending in endings
            if ending and stem.endswith(ending)
            for one in self.stems(stem.removesuffix(ending), "photo")
        ]


def tails(path: str) -> Iterator[str]:
    """A path, the path below its first folder, and so on to the file's name.

    Nothing before a ``..`` is given, and nothing absolute: no tail leads out of a folder.
    """
    parts = PurePosixPath(path).parts
    barred = [number for number, part in enumerate(parts) if part in ("..", "/", "//")]
    parts = parts[barred[-1] + 1 :] if barred else parts
    for start in range(len(parts)):
        yield "/".join(parts[start:])


def below(stems: Sequence[str], naming: Naming) -> list[str]:
    """Ids for photos that no folder is known of, from their paths without extension.

    That is the file's name, with the folders that a known data set counts as part of it; or, where
    photos of several folders have one name, the path below the folders that all have in common.
    """
    names = []
    for stem in stems:
        parts = stem.split("/")
        own = naming.own_name(stem)
        folders = _FOLDERS_OF_IDS.get(stem.removeprefix(own), 0)
        names.append("/".join(parts[-1 - folders :]))
    if len(set(names)) == len(set(stems)):
        return names
    folders_of = [stem.split("/")[:-1] for stem in stems]
    common = 0
    while all(len(f) > common and f[common] == folders_of[0][common] for f in folders_of):
        common += 1
    return ["/".join(stem.split("/")[common:]) for stem in stems]


class FolderOfFiles:
    """A folder whose files are looked up by names without extension.

    Args:
        root: the folder.
        suffixes: the extensions to try, with their dot.
    """

    def __init__(self, root: Path, suffixes: Sequence[str]) -> None:
        self._root = root
        self._suffixes = suffixes
        self._names_in: dict[str, frozenset[str] | None] = {}

    def files(self, stem: str) -> list[Path]:
        """The files of a name; none where that leads to a folder that is not there."""
        folder, _, last = stem.rpartition("/")
        names = self._names(folder)
        found: list[Path] = []
        for suffix in self._suffixes:
            if names is not None and _alike(last + suffix) not in names:
                continue
            path = self._root / f"{stem}{suffix}"
            # Where the disk does not tell capitals, x.jpg is there as x.JPG, too.
            if path.is_file() and not any(path.samefile(other) for other in found):
                found.append(path)
        return found

    def _names(self, folder: str) -> frozenset[str] | None:
        """What may be in a folder; None where the disk has to be asked for each name.

        Listing a folder once is cheaper than asking for each image under each extension, most of
        which are not there.
        """
        if folder not in self._names_in:
            names: frozenset[str] | None = frozenset()
            with suppress(FileNotFoundError, NotADirectoryError):
                try:
                    names = frozenset(map(_alike, os.listdir(self._root / folder)))
                except PermissionError:  # it can be looked into all the same
                    names = None
            self._names_in[folder] = names
        return self._names_in[folder]


def _alike(name: str) -> str:
    """The same for all spellings of a name that some disk takes for one."""
    return (name if name.isascii() else unicodedata.normalize("NFC", name)).casefold()
