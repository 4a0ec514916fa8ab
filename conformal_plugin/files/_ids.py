"""Image ids: reading lists of them, and finding the files that they name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath

from conformal_plugin._messages import one_line, shortened
from conformal_plugin.errors import SourceFileError
from conformal_plugin.files._naming import FolderOfFiles, Naming, below, tails

__all__ = [
    "IdFolder",
    "IdList",
    "ListedImage",
    "checked_id",
    "find_files",
    "ids_in_folder",
    "photos_in_folder",
    "read_ids",
]

_IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
_SHOWN = 5
_ENDINGS = ("photo", "label", "map")
_KNOWN = Naming()
_PLAIN = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)*")
"""An id in which no system sees anything but names of folders and a file."""


@dataclass(frozen=True)
class ListedImage:
    """What the line of a list says of an image.

    Attributes:
        photo: the path of the photo; None where the line is an id.
        mask: the path of the second column, where there is one.
    """

    photo: str | None = None
    mask: str | None = None


@dataclass(frozen=True)
class IdList:
    """Ids in the order of their first mention.

    Attributes:
        ids: each id once. An id is a relative path without extension, with ``/`` between folders.
        repeated: ids that were listed more than once, each once. Training code repeats its
            labelled ids to match the unlabelled ones; counting an image twice would claim more
            calibration data than there is.
        images: what the list says of each id, in the same order; empty where ids are all there is.
    """

    ids: tuple[str, ...]
    repeated: tuple[str, ...] = ()
    images: tuple[ListedImage, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[str]:
        return iter(self.ids)

    def take(self, indices: Sequence[int]) -> IdList:
        """The images at ``indices``, in that order."""
        images = tuple(self.images[index] for index in indices) if self.images else ()
        return IdList(tuple(self.ids[index] for index in indices), (), images)

    def below(
        self,
        folder: str | os.PathLike[str],
        suffixes: Sequence[str],
        what: str = "file",
        naming: Naming = _KNOWN,
    ) -> IdList:
        """The same images, each called by the path of its file below ``folder``.

        A line that names a photo is looked for under its whole path, then under the path below its
        first folder, and so on; the first that is there counts. ``images/scene1/0001.jpg`` is
        ``scene1/0001`` in a folder laid out as the photos are, and ``0001`` in a flat one. Where
        no file is there the id stays what it is.

        Args:
            folder: where the files lie.
            suffixes: the extensions to try, with their dot.
            what: what the files are: ``"map"``, ``"photo"``.
            naming: how their names end.

        Raises:
            SourceFileError: no such folder, one file would be that of two photos, or photos are
                found at different depths.
        """
        files = FolderOfFiles(_checked_folder(folder, what), suffixes)
        if not self.images:
            return self
        depths = _Depths(f"the {what} folder {folder}")
        ids = []
        for name, image in zip(self.ids, self.images):
            found_as = None
            if image.photo is not None:
                found_as = _id_below(files, image.photo, what, naming)
                depths.add(image.photo, found_as)
            ids.append(found_as or name)
        found = _once_each(ids, self.images, f"the {what} folder {folder}")
        return IdList(found.ids, tuple(dict.fromkeys(self.repeated + found.repeated)), found.images)


def read_ids(path: str | os.PathLike[str]) -> IdList:
    """Read an id list: one id a line, or lines ``PHOTO LABEL`` as training code keeps them.

    A line of one or two image paths, such as ``JPEGImages/0039.jpg SegmentationClass/0039.png``,
    names a photo and its mask. Its id is the file name of the photo without the extension; where
    photos of several folders have one name, the path below the folders that all have in common.
    :meth:`IdList.below` gives the id that it has in a folder of files, and :func:`find_files` finds
    its files by the line. Any other line is an id as it stands; ids may hold spaces and subfolders.
    Blank lines, CRLF and a byte order mark are tolerated.

    Raises:
        SourceFileError: no such file, not UTF-8, no id in it, an id that is absolute or leaves its
            folder with ``..`` (names the line), or two photos that differ in their extension alone.
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
    lines = [
        (number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()
    ]
    if not lines:
        raise SourceFileError(f"the id list {path} holds no id; write one id a line")
    images = [_listed(line) for _, line in lines]
    photos = [image.photo for image in images if image.photo is not None]
    names = dict(zip(photos, below([_stem(photo) for photo in photos], _KNOWN)))
    ids = [
        checked_id(
            line.strip() if image.photo is None else names[image.photo],
            f"line {number} of {path}",
        )
        for (number, line), image in zip(lines, images)
    ]
    return _once_each(ids, images, f"the id list {path}")


def ids_in_folder(
    folder: str | os.PathLike[str], suffixes: Sequence[str], what: str = "file"
) -> IdList:
    """The ids of all files in ``folder`` and its subfolders with one of ``suffixes``, sorted.

    Hidden files and folders are passed over.

    Raises:
        SourceFileError: no such folder, or no such file in it.
    """
    root = _checked_folder(folder, what)
    relative = (path.relative_to(root) for path in root.rglob("*"))
    visible = (path for path in relative if not any(part.startswith(".") for part in path.parts))
    ids = {name for name in (_without(path, suffixes) for path in visible) if name}
    if not ids:
        raise SourceFileError(
            f"there is no {what} ({', '.join(suffixes)}) in {folder}; check the folder"
        )
    return IdList(tuple(sorted(ids)))


def photos_in_folder(
    folder: str | os.PathLike[str], suffixes: Sequence[str], naming: Naming = _KNOWN
) -> IdList:
    """As :func:`ids_in_folder`, without the masks that lie beside their photos.

    Args:
        folder: where the photos lie.
        suffixes: their extensions, with their dot.
        naming: how photos and masks end; where an ending of photos is given, files of another are
            none.

    Raises:
        SourceFileError: no such folder, or no photo in it.
    """
    names = ids_in_folder(folder, suffixes, "photo").ids
    there = set(names)
    photos = tuple(
        name
        for name in names
        if not there.intersection(naming.is_mask_of(name)) and name.endswith(naming.photo or "")
    )
    if not photos:
        raise SourceFileError(
            f"no image in {folder} has a name that ends in {naming.photo!r}, as photos were said "
            f"to; check --photo-suffix"
        )
    return IdList(photos)


def find_files(
    folder: str | os.PathLike[str],
    ids: IdList | Iterable[str],
    suffixes: Sequence[str],
    what: str = "file",
    naming: Naming = _KNOWN,
) -> list[Path]:
    """The file of each id in ``folder``, in order.

    It is ``folder/ID + suffix``, whose name may have one of the endings of ``naming``. Where
    ``ids`` come from a list of photos and masks, photos are looked for by the first column and
    labels by the second, as :meth:`IdList.below` does it, before they are looked for by the id.

    Args:
        folder: where to look.
        ids: ids, or what :func:`read_ids` gives.
        suffixes: the extensions to try, with their dot.
        what: what the files are: ``"map"``, ``"label"``, ``"photo"``.
        naming: how their names may end.

    Raises:
        SourceFileError: no such folder; ids without a file (all are looked up, the first few and
            their number are named); an id with two files; two images with one file; or files of
            listed paths at different depths.
    """
    files = FolderOfFiles(_checked_folder(folder, what), suffixes)
    listed = ids if isinstance(ids, IdList) else IdList(tuple(ids))
    depths = _Depths(f"the {what} folder {folder}")
    images = listed.images or (ListedImage(),) * len(listed)
    found: list[Path] = []
    of: dict[Path, str] = {}
    missing: list[str] = []
    for name, image in zip(listed.ids, images):
        checked_id(name, "the list of ids")
        present = _by_column(files, image, what, naming, depths) or [
            path for stem in naming.stems(name, what) for path in files.files(stem)
        ]
        if len(present) > 1:
            raise SourceFileError(
                f"id {name} has {len(present)} {what}s in {folder}: "
                f"{', '.join(path.name for path in present)}; keep one of them{_say_which(what)}"
            )
        if not present:
            missing.append(name)
            continue
        found += present
        other = of.setdefault(present[0], name)
        if other != name:
            raise SourceFileError(
                f"the images {other} and {name} would both have the {what} {present[0]}; lay the "
                f"{what}s out in sub-folders as the photos are, or take one of them off the id list"
            )
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        looked_for = f"{', '.join(f'ID{suffix}' for suffix in suffixes)}"
        raise SourceFileError(
            f"{len(missing)} of {len(listed)} ids have no {what} in {folder} (looked for "
            f"{looked_for}): {shown}; check the folder{_or_ending(what)}, or take them off the id "
            f"list{_of_other_kinds(folder, missing[0], what, naming)}"
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


def _without(path: Path, suffixes: Sequence[str]) -> str | None:
    """A path without the longest of the suffixes that fits; None where none does."""
    fitting = [suffix for suffix in suffixes if path.name.endswith(suffix)]
    return path.as_posix()[: -len(max(fitting, key=len))] if fitting else None


def _listed(line: str) -> ListedImage:
    fields = line.split()
    if len(fields) > 2 or not all(field.lower().endswith(_IMAGE_SUFFIXES) for field in fields):
        return ListedImage()
    return ListedImage(*fields)


def _stem(path: str) -> str:
    """A path without its extension, from the first folder that can lie inside another."""
    inside = next(tails(path), "")
    return str(PurePosixPath(inside).with_suffix("")) if inside else path


def _id_below(files: FolderOfFiles, photo: str, what: str, naming: Naming) -> str | None:
    """The name of a photo's file in a folder; None where there is none."""
    names = (*naming.candidates(photo, what), *tails(photo))
    return next((name for name in names if files.files(name)), None)


def _by_column(
    files: FolderOfFiles, image: ListedImage, what: str, naming: Naming, depths: _Depths
) -> list[Path]:
    """The file that the line of a list names itself, by its columns."""
    column = {"photo": image.photo, "label": image.mask}.get(what)
    if column is None or (what == "label" and naming.label is not None):
        return []
    for tail in tails(column):
        stem = str(PurePosixPath(tail).with_suffix(""))
        if found := files.files(stem):
            depths.add(column, stem)
            return found
    return []


class _Depths:
    """Where the paths of a list are found in a folder: all of one form must be found alike.

    A file that lies higher up than the others is that of another photo with the same name.

    Args:
        where: the folder, for the message.
    """

    def __init__(self, where: str) -> None:
        self._where = where
        self._first: dict[int, tuple[int, str, str]] = {}

    def add(self, path: str, name: str | None) -> None:
        """Take note of the name under which a listed path was found.

        Raises:
            SourceFileError: an earlier one of as many folders was found at another depth.
        """
        if name is None:
            return
        depth = name.count("/")
        first, other, as_name = self._first.setdefault(path.count("/"), (depth, path, name))
        if first != depth:
            raise SourceFileError(
                f"in {self._where} the listed {other} is found as {as_name} and {path} as {name}, "
                f"at another depth: one of them may be another photo's; lay the folder out in one "
                f"way"
            )


def _of_other_kinds(folder: str | os.PathLike[str], name: str, what: str, naming: Naming) -> str:
    """A remark where a label is there as an image of another kind, as which it is not read."""
    if what != "label":
        return ""
    files = FolderOfFiles(Path(folder), _IMAGE_SUFFIXES)
    found = next((path for stem in naming.stems(name, what) for path in files.files(stem)), None)
    if found is None:
        return ""
    return (
        f". There is {found.name}: masks are read from PNG, which keeps their values, as JPEG does "
        f"not (a map from what JPEG made of 0 and 255 is binary-threshold)"
    )


def _say_which(what: str) -> str:
    return f", or say how {what}s end (--{what}-suffix)" if what in _ENDINGS else ""


def _or_ending(what: str) -> str:
    return f", or say how the names of {what}s end (--{what}-suffix)" if what in _ENDINGS else ""


def checked_id(name: str, where: str) -> str:
    """``name`` in its one spelling: ``a//./b`` is ``a/b``.

    Args:
        name: an id.
        where: where it stands, for the message: ``"line 3 of ids.txt"``.

    Raises:
        SourceFileError: empty, absolute, with control characters, or leaving its folder.
    """
    if _PLAIN.fullmatch(name):
        return name
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    leaves = ".." in posix.parts or ".." in windows.parts or posix.anchor or windows.anchor
    if leaves or not posix.parts or not one_line(name):
        raise SourceFileError(
            f"{where} has the id {shortened(repr(name))}: an id is a relative path without "
            f"extension that stays inside its folder, such as 2007_000039 or aachen/000001, and "
            f"holds no control characters or halves of characters"
        )
    return str(posix)


def _once_each(ids: Sequence[str], images: Sequence[ListedImage], where: str) -> IdList:
    """Each id once, with what its line says; refuses two photos of one id."""
    first: dict[str, ListedImage] = {}
    repeated: dict[str, None] = {}
    for name, image in zip(ids, images):
        other = first.get(name)
        if other is None:
            first[name] = image
            continue
        if None not in (other.photo, image.photo) and other.photo != image.photo:
            raise SourceFileError(
                f"the photos {other.photo} and {image.photo} would both have the id {name} in "
                f"{where}: their paths differ in the extension alone, or that folder is flat; "
                f"rename one of them, or lay the folder out as the photos are"
            )
        if other.photo is None:
            first[name] = image
        repeated[name] = None
    return IdList(tuple(first), tuple(repeated), tuple(first.values()))


def _checked_folder(folder: str | os.PathLike[str], what: str) -> Path:
    root = Path(folder)
    if not root.is_dir():
        raise SourceFileError(f"the {what} folder {folder} is not a folder; check the path")
    return root
