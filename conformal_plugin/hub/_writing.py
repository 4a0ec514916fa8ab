"""Writing a calibration, its labels and a card into a folder that others can check and use."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeAlias

from conformal_plugin._atomic import atomic_open, atomic_write_text, sweep
from conformal_plugin._json import parsed
from conformal_plugin._messages import one_line, shown
from conformal_plugin.calibration import MADE_FOR, Calibration
from conformal_plugin.errors import OptionError, SourceFileError
from conformal_plugin.files import MapStore
from conformal_plugin.hub._card import Card
from conformal_plugin.hub._contents import CALIBRATION, CARD, CONTENTS, LABELS, Contents, digest_of
from conformal_plugin.hub._labels import LabelSet, LabelTally
from conformal_plugin.hub._shared import Shared

__all__ = ["share"]

_WRITERS = ("conformal-plugin", "torch", "numpy")
Labels: TypeAlias = "Sequence[tuple[str, Path]]"


def share(
    folder: Path,
    calibration: Path,
    *,
    title: str | None = None,
    license: str | None = None,
    class_names: Sequence[str] | None = None,
    maps: MapStore | None = None,
    labels: LabelSet | None = None,
    follow: Callable[[Labels], Iterable[tuple[str, Path]]] = iter,
) -> Shared:
    """Write a folder with a calibration, a card and, where they are given, labels.

    What a killed run left there is written anew.

    Args:
        folder: where to; new, or empty.
        calibration: the file, which is copied as it is.
        title: of the card; by default it says what there is.
        license: an identifier of the Hub's, such as ``cc-by-4.0``; None states none.
        class_names: by class index; by default those of ``maps``.
        maps: the maps that were calibrated on, for the annotator's fingerprint.
        labels: the labels that this calibration made.
        follow: gives the label files one by one, as a progress bar does.

    Raises:
        OptionError: the folder holds something, the maps are another annotator's, or names or a
            license that cannot be.
        CalibrationFileError, SourceFileError: a file that cannot be read.
        MissingExtraError: Jinja2 or PyYAML is not installed.
    """
    loaded = Calibration.load(calibration)
    content = calibration.read_bytes()
    names = class_names if class_names is not None or maps is None else maps.class_names
    _check(loaded, title, license, names)
    annotator = None if maps is None else _fingerprint(calibration, content, maps)
    if not _free(folder, content, labels):
        raise OptionError(
            f"{folder} holds something already, which would be shared, too; choose a new folder"
        )
    Card.require()
    files = {CALIBRATION: _copied(content, folder / CALIBRATION)}
    tally = None if labels is None else _with_labels(folder, labels, files, follow)
    contents = Contents(
        license, None if names is None else tuple(names), annotator, _versions(), files
    )
    card = Card(title, loaded, parsed(content.decode()), contents, labels, tally)
    atomic_write_text(folder / CARD, card.text())
    contents.write(folder)  # the last: a folder without them is no shared one
    return Shared(folder, loaded, contents)


def _free(folder: Path, content: bytes, labels: LabelSet | None) -> bool:
    """Whether a folder is new, empty, or what a killed run of this left: its first file, no last.

    What that run was writing when it ended is deleted.
    """
    if not folder.exists():
        return True
    if not folder.is_dir():
        return False
    within = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    names = () if labels is None else (*labels.files, *labels.beside)
    ours = {CALIBRATION, CARD, *(f"{LABELS}/{name}" for name in names)}
    theirs = {name for name, path in within.items() if not path.is_dir()} - ours
    first = folder / CALIBRATION
    begun = not within or (first.is_file() and first.read_bytes() == content)
    unfinished = all(Path(name).name.startswith(".") for name in theirs)
    if begun and unfinished:
        last_names = {Path(name).name for name in (*ours, CONTENTS)}
        sweep([folder, *(p for p in within.values() if p.is_dir())], last_names.__contains__)
    return begun and not any(path.exists() for name, path in within.items() if name in theirs)


def _check(
    calibration: Calibration,
    title: str | None,
    license: str | None,
    names: Sequence[str] | None,
) -> None:
    if title is not None and not (title.strip() and one_line(title)):
        raise OptionError(f"the title is one line of text, got {shown(title)}")
    if license is not None and re.fullmatch(r"[a-z0-9][a-z0-9.+-]*", license) is None:
        raise OptionError(
            f"a license is an identifier of the Hub's, such as cc-by-4.0, mit or other, got "
            f"{shown(license)}"
        )
    if names is not None and len(names) != calibration.num_classes:
        raise OptionError(
            f"{len(names)} class names were given and the calibration has "
            f"{calibration.num_classes} classes; give one name per class, background included"
        )
    for name in names or ():
        if not one_line(name):
            raise OptionError(f"the class name {shown(name)} is no single line; rename it")


def _fingerprint(calibration: Path, content: bytes, maps: MapStore) -> Mapping[str, Any]:
    theirs = parsed(content.decode()).get(MADE_FOR)
    if theirs != maps.digest.hex():
        said = "names no annotator" if theirs is None else "was made on maps of another annotator"
        raise OptionError(
            f"{calibration} {said}, so that nothing is known of it from {maps.folder}; name the "
            f"maps that were calibrated on, or none"
        )
    return maps.annotator


def _with_labels(
    folder: Path,
    labels: LabelSet,
    files: dict[str, str],
    follow: Callable[[Labels], Iterable[tuple[str, Path]]],
) -> LabelTally:
    """Copy the labels, and count what was copied."""
    tally = LabelTally(labels.dropped)
    for name, content in _read(follow(list(labels.files.items()))):
        target = folder / LABELS / name
        files[f"{LABELS}/{name}"] = _copied(content, target)
        tally.add(target)
    for name, content in _read(labels.beside.items()):
        files[f"{LABELS}/{name}"] = _copied(content, folder / LABELS / name)
    return tally


def _read(files: Iterable[tuple[str, Path]]) -> Iterable[tuple[str, bytes]]:
    for name, path in files:
        try:
            yield name, path.read_bytes()
        except OSError as error:
            raise SourceFileError(
                f"cannot read the label {path} ({error.strerror or error}); check the folder"
            ) from error


def _copied(content: bytes, target: Path) -> str:
    with atomic_open(target) as file:
        file.write(content)
    return digest_of(content)


def _versions() -> dict[str, str]:
    found = {}
    for package in _WRITERS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a checkout that is not installed
            found[package] = "unknown"
    return found
