"""``calibrate --unlabelled``: the labelled maps beside unlabelled ones, whole groups together."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from conformal_plugin.cli._groups import groups_of
from conformal_plugin.cli._inputs import find_maps, ids_of_list, naming, taken_maps
from conformal_plugin.cli._progress import progress
from conformal_plugin.cli._report import note
from conformal_plugin.cli._sharding import Ranks
from conformal_plugin.errors import OptionError
from conformal_plugin.evaluation import MapMeasures, Shift, measure_map, shift_of_measures
from conformal_plugin.files import IdList

__all__ = ["check_comparison", "compared", "unlabelled_maps"]


def check_comparison(arguments: argparse.Namespace, ids: IdList) -> None:
    """Refuse before any work what cannot be compared.

    Raises:
        OptionError: a sample of fewer than two.
        SourceFileError: an unreadable list, or an unlabelled id without a map.
    """
    if arguments.unlabelled is None:
        return
    if arguments.unlabelled_sample < 2:
        raise OptionError(
            f"--unlabelled-sample must be 2 or more, got {arguments.unlabelled_sample}"
        )
    listed = set(ids_of_list(arguments, arguments.unlabelled))
    both = sum(name in listed for name in ids)
    if both:
        note(
            f"{both} labelled ids are in --unlabelled too, and are compared as labelled alone",
            quiet=arguments.quiet,
        )
    unlabelled_maps(arguments, ids)


def unlabelled_maps(arguments: argparse.Namespace, labelled: IdList) -> list[Path]:
    """The maps that the labelled ones are compared with; none where none were named."""
    if arguments.unlabelled is None:
        return []
    return find_maps(arguments, _drawn(arguments, labelled))


def compared(arguments: argparse.Namespace, ids: IdList, ranks: Ranks) -> Shift | None:
    """The labelled images beside the unlabelled ones, on every rank; None where none were named."""
    if arguments.unlabelled is None:
        return None
    unlabelled = _drawn(arguments, ids)
    measured: dict[str, MapMeasures] = {}
    paths = {
        **dict(zip(ids, find_maps(arguments, ids))),
        **dict(zip(unlabelled, find_maps(arguments, unlabelled))),
    }
    mine = {name: paths[name] for name in ranks.share(list(paths))}
    for part in ranks.gather(_measured(arguments, mine)):
        measured |= part
    ours, theirs = groups_of(arguments, ids), groups_of(arguments, unlabelled)
    return shift_of_measures(
        [measured[name] for name in ids],
        [measured[name] for name in unlabelled],
        groups=None if ours is None else list(ours.values()),
        unlabelled_groups=None if theirs is None else list(theirs.values()),
    )


def _drawn(arguments: argparse.Namespace, labelled: Iterable[str]) -> IdList:
    """A random part of the ids that are not labelled, the same each time."""
    known = set(labelled)
    listed = ids_of_list(arguments, arguments.unlabelled)
    places = [place for place, name in enumerate(listed) if name not in known]
    places.sort(key=lambda place: hashlib.sha256(listed.ids[place].encode("utf-8")).digest())
    return listed.take(places[: arguments.unlabelled_sample])


def _measured(arguments: argparse.Namespace, paths: Mapping[str, Path]) -> dict[str, MapMeasures]:
    maps = taken_maps(arguments, list(paths.values()))
    pairs = zip(paths, maps)
    found = {}
    for name, taken in progress(pairs, "compare", total=len(paths), quiet=arguments.quiet):
        with naming(name):
            found[name] = measure_map(taken.value)
    return found
