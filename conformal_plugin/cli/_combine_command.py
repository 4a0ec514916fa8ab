"""``conformal-plugin combine``: maps of several annotators become the maps of one."""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from conformal_plugin._atomic import sweep
from conformal_plugin.cli._inputs import naming, naming_of
from conformal_plugin.cli._label_maps import label_reader, refuse_train_ids
from conformal_plugin.cli._outputs import named_files, refuse_inputs
from conformal_plugin.cli._progress import progress
from conformal_plugin.cli._report import print_json
from conformal_plugin.cli._sharding import Ranks, sharing
from conformal_plugin.combining import (
    Combination,
    Route,
    fit_pick,
    fit_route,
    fit_stack,
    mean_of,
)
from conformal_plugin.errors import OptionError
from conformal_plugin.files import (
    MAP_SUFFIXES,
    STORE_MANIFEST,
    FileState,
    IdList,
    MapReader,
    MapStore,
    ScoreMap,
    find_files,
    ids_in_folder,
    label_suffixes,
    read_ids,
    require_classes_first,
    suffixes,
    unchanged,
)
from conformal_plugin.scores import ScoreParts

__all__ = ["run"]

_FITS: dict[str, Callable[..., Combination]] = {
    "pick": fit_pick,
    "route": fit_route,
    "stack": fit_stack,
}
_CERTIFYING = ("epsilon", "delta")


def run(arguments: argparse.Namespace) -> None:
    """Fit the rule where it is fitted, and combine this rank's images that are not there yet."""
    with sharing() as ranks:
        arguments.quiet = arguments.quiet or ranks.number > 0
        combining = ranks.together(lambda: _Combining(arguments))
        # On one rank alone, so that all have the same numbers to the last digit.
        fitted = ranks.together(lambda: combining.rule() if ranks.number == 0 else None)
        rule = next(one for one in ranks.gather(fitted) if one is not None)
        ranks.first(lambda: combining.begin(rule))
        written = ranks.together(lambda: combining.combine(rule, ranks))
        total = sum(ranks.gather(written))
        ranks.first(lambda: combining.report(rule, total))


class _Combining:
    """All that combining needs, found and checked before any work."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        _check(arguments)
        self._readers = [
            MapReader(folder, arguments.key, arguments.max_map_bytes) for folder in arguments.maps
        ]
        self.ids = _ids(arguments)
        self._paths = self._found(self.ids)
        self._fit_ids = IdList(())
        if arguments.fit_ids is not None:
            self._fit_ids = _below_first(arguments, arguments.fit_ids)
        self._fit_paths = self._found(self._fit_ids)
        self._label_paths = (
            find_files(
                arguments.labels,
                self._fit_ids,
                label_suffixes(arguments.labels),
                "label",
                naming_of(arguments),
            )
            if len(self._fit_ids)
            else []
        )
        refuse_train_ids(arguments, self._label_paths)
        refuse_inputs(
            {
                "the result": [arguments.out / f"{name}.cpmap" for name in self.ids],
                "--out": [arguments.out / STORE_MANIFEST],
            },
            {
                **named_files(arguments),
                "a map": [path for paths in (*self._paths, *self._fit_paths) for path in paths],
                "a label": self._label_paths,
            },
        )
        self._annotators, self._class_names = _annotators(arguments.maps)

    def rule(self) -> Combination:
        """The combination, fitted where its rule is."""
        arguments = self._arguments
        if arguments.rule == "mean":
            return mean_of(len(arguments.maps), self._read(self._paths[0])[0].shape[0])
        ignore_index = 255 if arguments.ignore_index is None else arguments.ignore_index
        images = progress(self._labelled(), "fit", total=len(self._fit_ids), quiet=arguments.quiet)
        given = {name: getattr(arguments, name) for name in _CERTIFYING}
        more = {name: share for name, share in given.items() if share is not None}
        return _FITS[arguments.rule](images, ignore_index=ignore_index, **more)

    def begin(self, rule: Combination) -> None:
        """Begin the store or check the one there; clear away what a killed run left half written.

        Not while another rank writes, whose files would look like that.
        """
        store = self._store(rule)
        folders = {store.path(name).parent for name in self.ids} | {store.folder}
        sweep(sorted(folders), lambda name: name.endswith((".cpmap", ".json")))

    def combine(self, rule: Combination, ranks: Ranks) -> int:
        """Write this rank's maps that are not there; gives their number."""
        arguments = self._arguments
        store = self._store(rule)
        mine = ranks.share(list(zip(self.ids, self._paths)))
        todo = [
            (name, paths)
            for name, paths in mine
            if (entry := store.entry(name)) is None
            or entry.source != _source(map(FileState.of, paths))
        ]
        for name, paths in progress(
            todo, "combine", total=len(mine), done=len(mine) - len(todo), quiet=arguments.quiet
        ):
            # Written within, for that reads; of a file that changes meanwhile it is made again.
            with naming(name), unchanged(*paths) as states:
                store.write(name, rule.in_parts(self._read(paths)), source=_source(states))
        return len(todo)

    def report(self, rule: Combination, written: int) -> None:
        """Print what was done."""
        arguments = self._arguments
        content: dict[str, Any] = {
            "maps": str(arguments.out),
            "written": written,
            "already_there": len(self.ids) - written,
            **rule.fingerprint(self._annotators),
        }
        if arguments.json:
            print_json(content)
            return
        print(f"{written} maps written to {arguments.out}, {len(self.ids) - written} were there")
        for number, (folder, row) in enumerate(zip(arguments.maps, rule.weights)):
            shown = (
                f"classes {' '.join(str(k) for k, w in enumerate(row) if w) or '(none)'}"
                if rule.rule in ("pick", "route")
                else f"weight {row[0]:g}"
            )
            print(f"  annotator {number}, {folder}: {shown}")
        if isinstance(rule, Route):
            print(f"certified: classes {' '.join(map(str, rule.certified)) or '(none)'}")
        if rule.fitted_on:
            print(f"fitted on {len(rule.fitted_on)} labelled images; calibrate on others")

    def _store(self, rule: Combination) -> MapStore:
        return MapStore(
            self._arguments.out,
            annotator=rule.fingerprint(self._annotators),
            class_names=self._class_names or tuple(map(str, range(len(rule.offsets)))),
            precision=self._arguments.precision,
        )

    def _found(self, ids: IdList) -> list[tuple[Path, ...]]:
        """For each id its map of every annotator."""
        naming = naming_of(self._arguments)
        known = suffixes(MAP_SUFFIXES)
        columns = (find_files(folder, ids, known, "map", naming) for folder in self._arguments.maps)
        return list(zip(*columns))

    def _read(self, paths: Sequence[Path]) -> list[ScoreMap | ScoreParts]:
        maps = [reader.in_parts(path) for reader, path in zip(self._readers, paths)]
        for scores, path in zip(maps, paths):
            require_classes_first(scores, path.stem)
        return maps

    def _labelled(self) -> Iterator[tuple[str, list[ScoreMap | ScoreParts], Any]]:
        read = label_reader(self._arguments)
        for name, paths, label in zip(self._fit_ids, self._fit_paths, self._label_paths):
            yield name, self._read(paths), read(label)


def _check(arguments: argparse.Namespace) -> None:
    if len(arguments.maps) < 2:
        raise OptionError(
            f"--maps names {len(arguments.maps)} folder; combining takes two annotators or more"
        )
    if arguments.max_map_bytes < 1:
        raise OptionError(f"--max-map-bytes must be at least 1, got {arguments.max_map_bytes}")
    for option in _CERTIFYING:
        if getattr(arguments, option) is not None and arguments.rule != "route":
            raise OptionError(
                f"--{option} is what --rule route certifies; --rule {arguments.rule} does not"
            )
    fitted = arguments.rule in _FITS
    for option in ("fit_ids", "labels"):
        if (getattr(arguments, option) is not None) != fitted:
            name = f"--{option.replace('_', '-')}"
            raise OptionError(
                f"--rule {arguments.rule} is fitted on labelled images; {name} is missing"
                if fitted
                else f"--rule {arguments.rule} is not fitted on anything; leave {name} out"
            )


def _ids(arguments: argparse.Namespace) -> IdList:
    if arguments.ids is None:
        return ids_in_folder(arguments.maps[0], suffixes(MAP_SUFFIXES), "map")
    return _below_first(arguments, arguments.ids)


def _below_first(arguments: argparse.Namespace, path: Path) -> IdList:
    """The images of a list, as their maps in the first folder are called."""
    known = suffixes(MAP_SUFFIXES)
    return read_ids(path).below(arguments.maps[0], known, "map", naming_of(arguments))


def _annotators(folders: Sequence[Path]) -> tuple[list[Mapping[str, Any]], tuple[str, ...] | None]:
    """The fingerprint of each folder's annotator, and the classes that all name alike."""
    annotators: list[Mapping[str, Any]] = []
    first: tuple[Path, tuple[str, ...]] | None = None
    for folder in folders:
        if not (folder / STORE_MANIFEST).exists():
            annotators.append({"annotator": "unknown", "maps": folder.resolve().name})
            continue
        store = MapStore.open(folder)
        annotators.append(store.annotator)
        if first is not None and first[1] != store.class_names:
            raise OptionError(
                f"{first[0]} has the classes {_few(first[1])} and {folder} has "
                f"{_few(store.class_names)}; combine annotators that were asked for the same "
                f"classes in the same order"
            )
        first = first or (folder, store.class_names)
    return annotators, None if first is None else first[1]


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f", ... ({len(names)})" if len(names) > 3 else "")


def _source(states: Iterable[FileState]) -> bytes:
    """What tells the files that a map is combined from, as a store keeps it."""
    plain = [[state.size, state.modified] for state in states]
    return hashlib.sha256(json.dumps(plain).encode()).digest()
