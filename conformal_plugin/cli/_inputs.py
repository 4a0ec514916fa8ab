"""From a command's arguments to ids, maps, labels and a threshold, all checked before any work."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from conformal_plugin.calibration import Calibration
from conformal_plugin.cli._label_maps import label_reader, refuse_train_ids
from conformal_plugin.cli._report import note
from conformal_plugin.cli._whose_maps import annotator_of, refuse_other_maps
from conformal_plugin.errors import ConformalError, OptionError
from conformal_plugin.evaluation import LabelDoubts
from conformal_plugin.files import (
    MAP_SUFFIXES,
    IdList,
    LabelReader,
    LazySequence,
    MapReader,
    Naming,
    ScoreMap,
    Taken,
    find_files,
    ids_in_folder,
    label_size,
    label_suffixes,
    photo_size,
    photo_suffixes,
    read_ids,
    require_axes,
    require_classes_first,
    require_size,
    resize_map,
    suffixes,
    take,
)
from conformal_plugin.scores import ScoreParts

__all__ = [
    "class_or_none",
    "classes_of",
    "find_labels",
    "find_maps",
    "find_photos",
    "fitted_maps",
    "ids_of_list",
    "is_volume",
    "listed_ids",
    "maps_and_labels",
    "naming",
    "naming_of",
    "naming_of_all",
    "own_map_paths",
    "own_maps",
    "taken_labels",
    "taken_maps",
    "threshold",
    "value_of",
]

T = TypeVar("T")


def naming_of(arguments: argparse.Namespace) -> Naming:
    """How the names of files end, as far as that was said."""
    label, scores = (getattr(arguments, f"{what}_suffix", None) for what in ("label", "map"))
    return Naming(photo=arguments.photo_suffix, label=label, map=scores)


def listed_ids(arguments: argparse.Namespace) -> IdList:
    """The images of ``--ids``, or of all files in ``--maps``, as their maps are called; each once.

    Raises:
        SourceFileError: an unreadable list, or photos that would share a map.
    """
    if arguments.ids is None:
        return ids_in_folder(arguments.maps, suffixes(MAP_SUFFIXES), "map")
    return ids_of_list(arguments, arguments.ids)


def ids_of_list(arguments: argparse.Namespace, path: Path) -> IdList:
    """As :func:`listed_ids`, of any list; without ``--maps``, as the photos are called."""
    where: tuple[Path, Sequence[str], str]
    if (maps := getattr(arguments, "maps", None)) is not None:
        where = (maps, suffixes(MAP_SUFFIXES), "map")
    else:
        where = (arguments.photos, photo_suffixes(arguments.photos), "photo")
    listed = read_ids(path).below(*where, naming_of(arguments))
    if listed.repeated:
        shown = ", ".join(listed.repeated[:3]) + (", ..." if len(listed.repeated) > 3 else "")
        note(
            f"{len(listed.repeated)} ids are listed more than once and are used once: {shown}",
            quiet=arguments.quiet,
        )
    return listed


def find_maps(arguments: argparse.Namespace, ids: IdList) -> list[Path]:
    """The map file of every image."""
    return find_files(arguments.maps, ids, suffixes(MAP_SUFFIXES), "map", naming_of(arguments))


def find_labels(arguments: argparse.Namespace, ids: IdList) -> list[Path]:
    """The true label of every image."""
    kinds = label_suffixes(arguments.labels)
    paths = find_files(arguments.labels, ids, kinds, "label", naming_of(arguments))
    refuse_train_ids(arguments, paths)
    return paths


def find_photos(arguments: argparse.Namespace, ids: IdList) -> list[Path]:
    """The photo of every image."""
    kinds = photo_suffixes(arguments.photos)
    return find_files(arguments.photos, ids, kinds, "photo", naming_of(arguments))


def taken_maps(arguments: argparse.Namespace, paths: Sequence[Path]) -> LazySequence[Taken[Any]]:
    """The maps at ``paths``, as they are; volumes as a batch of one, ``(1, K, D, H, W)``.

    Args:
        arguments: with ``maps``, ``key`` and ``max_map_bytes``.
        paths: the map files.
    """
    reader = _reader(arguments)

    def checked(path: Path) -> Any:
        scores = reader.in_parts(path)
        require_classes_first(scores, path.stem)
        return _as_batch(scores, 4)

    return LazySequence(lambda path: take(partial(checked, path), path), paths)


def fitted_maps(
    arguments: argparse.Namespace,
    ids: Iterable[str],
    paths: Sequence[Path],
    images: Sequence[Path],
    what: str,
) -> LazySequence[Taken[Any]]:
    """The maps at ``paths``, each of its image's size: resized with ``--resize``, else checked.

    Volumes come as a batch of one, ``(1, K, D, H, W)``, which nothing else can be taken for.

    Args:
        arguments: with ``maps``, ``key``, ``max_map_bytes`` and ``resize``.
        ids: the images' ids.
        paths: the map files.
        images: the images whose sizes count.
        what: what these are, ``"label"`` or ``"photo"``.
    """
    reader = _reader(arguments)
    size: Callable[[Path], tuple[int, ...]] = label_size
    if what == "photo":
        size = partial(photo_size, follow_exif=arguments.follow_exif)

    def resized(name: str, path: Path, image: Path) -> Any:
        scores, wanted = reader.in_parts(path), size(image)
        require_classes_first(scores, name)
        if tuple(scores.shape[1:]) == tuple(wanted):
            return scores
        require_axes(scores, wanted, name, what)
        return resize_map(reader(path) if isinstance(scores, ScoreParts) else scores, wanted)

    def checked(name: str, path: Path, image: Path) -> Any:
        scores = reader.in_parts(path)
        if scores.ndim == 4:  # of an image its size tells
            require_classes_first(scores, name)
        require_size(scores, size(image), name, what)
        return scores

    def fitted(source: tuple[str, Path, Path]) -> Taken[ScoreMap]:
        _, *files = source
        fit = resized if arguments.resize else checked
        return take(lambda: _as_batch(fit(*source), 4), *files)

    return LazySequence(fitted, list(zip(ids, paths, images)))


def taken_labels(read: LabelReader, paths: Sequence[Path]) -> LazySequence[Taken[Any]]:
    """The true labels at ``paths``; of volumes as a batch of one, ``(1, D, H, W)``."""
    return LazySequence(lambda path: take(lambda: _as_batch(read(path), 3), path), paths)


def _as_batch(values: Any, of_volumes: int) -> Any:
    single = values.ndim == of_volumes and not isinstance(values, ScoreParts)
    return values[None] if single else values


def is_volume(scores: Any) -> bool:
    """Whether a map, as it is read here, is one of a volume."""
    return bool(scores.ndim == (4 if isinstance(scores, ScoreParts) else 5))


def classes_of(scores: Any) -> int:
    """K of a map, or of a batch of one volume."""
    return int(scores.shape[1 if scores.ndim == 5 else 0])


def value_of(taken: Taken[T]) -> T:
    """What was read, where nobody asks of which state of a file."""
    return taken.value


def maps_and_labels(
    arguments: argparse.Namespace,
    ids: IdList,
    qhat: Any = None,
    doubts: LabelDoubts | None = None,
) -> tuple[LazySequence[Any], LazySequence[Any]]:
    """The maps of ``ids``, fitted to their labels, and these, in step.

    Args:
        arguments: of the command.
        ids: the images.
        qhat: the calibration, whose label map the labels are read by.
        doubts: looks at every image when its map is read for the first time.

    Raises:
        OptionError: ``--classes`` names one that the first map does not have.
        SourceFileError: a file is missing.
    """
    map_paths, label_paths = find_maps(arguments, ids), find_labels(arguments, ids)
    maps = fitted_maps(arguments, ids, map_paths, label_paths, "label").then(value_of)
    if arguments.classes is not None and len(maps):
        classes = range(classes_of(maps[0]))
        if not set(arguments.classes) <= set(classes):
            raise OptionError(
                f"--classes must be indices in 0 ... {len(classes) - 1}, as {map_paths[0]} has "
                f"{len(classes)} classes, got {arguments.classes}"
            )
    labels = taken_labels(label_reader(arguments, qhat), label_paths).then(value_of)
    if doubts is None:
        return maps, labels

    def looked_at(index: int) -> Any:
        scores = maps[index]
        if not doubts.has_seen(ids.ids[index]):
            doubts.look(ids.ids[index], scores, labels[index])
        return scores

    return LazySequence(looked_at, range(len(ids))), labels


def own_map_paths(arguments: argparse.Namespace, ids: IdList) -> list[Path]:
    """The map of the user's own model of every image; none where none are given.

    Raises:
        SourceFileError: a file is missing.
    """
    return [] if arguments.own_maps is None else find_maps(_of_own(arguments), ids)


def own_maps(arguments: argparse.Namespace, ids: IdList) -> LazySequence[ScoreMap] | None:
    """The scores of the user's own model for ``ids``, fitted to the labels; None without any.

    Raises:
        SourceFileError: a file is missing.
    """
    if arguments.own_maps is None:
        return None
    of_own = _of_own(arguments)
    paths, labels = own_map_paths(arguments, ids), find_labels(arguments, ids)
    return fitted_maps(of_own, ids, paths, labels, "label").then(value_of)


def _of_own(arguments: argparse.Namespace) -> argparse.Namespace:
    """The arguments, with the own model's maps in place of the annotator's."""
    return argparse.Namespace(**{**vars(arguments), "maps": arguments.own_maps})


def class_or_none(given: int | str | None) -> int | None:
    """The background class of ``--background``: 0 where nothing was typed, None for ``none``."""
    return 0 if given is None else None if given == "none" else int(given)


def threshold(arguments: argparse.Namespace) -> tuple[Any, int]:
    """What to filter with (a calibration, a number, or one per class), and the ignore index.

    Raises:
        OptionError: an ignore index that contradicts the calibration's, or maps of another
            annotator than it was made on.
        CalibrationFileError: not a calibration file.
    """
    given = arguments.ignore_index
    if arguments.calibration is None:
        qhat = arguments.qhat
        return qhat[0] if len(qhat) == 1 else qhat, 255 if given is None else given
    calibration = Calibration.load(arguments.calibration)
    folder = getattr(arguments, "maps", None)  # `annotate` has none, its maps are to be made
    if folder is not None:
        refuse_other_maps(arguments.calibration, annotator_of(folder), str(folder))
    if given is not None and given != calibration.ignore_index:
        raise OptionError(
            f"--ignore-index is {given} and {arguments.calibration} was made with "
            f"{calibration.ignore_index}; leave the option out, or calibrate with {given}"
        )
    return calibration, calibration.ignore_index


def _reader(arguments: argparse.Namespace) -> MapReader:
    if arguments.max_map_bytes < 1:
        raise OptionError(f"--max-map-bytes must be at least 1, got {arguments.max_map_bytes}")
    return MapReader(arguments.maps, arguments.key, arguments.max_map_bytes)


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Put the image's id before the message of what goes wrong inside."""
    try:
        yield
    except ConformalError as error:
        raise type(error)(f"image {name}: {error}") from error


@contextmanager
def naming_of_all(ids: Sequence[str]) -> Iterator[None]:
    """Put the image's id in place of its number, where one of all is to blame."""
    try:
        yield
    except ConformalError as error:
        if error.image is None:
            raise
        raise type(error)(f"image {ids[error.image]}: {error.__cause__}") from error
