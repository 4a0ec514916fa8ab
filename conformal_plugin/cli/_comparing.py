"""``calibrate --unlabelled``: how sure the annotator is, and the labelled maps beside these."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from conformal_plugin.cli._groups import groups_of
from conformal_plugin.cli._inputs import find_maps, ids_of_list, naming, taken_maps
from conformal_plugin.cli._progress import progress
from conformal_plugin.cli._report import note
from conformal_plugin.cli._sharding import Ranks
from conformal_plugin.errors import OptionError
from conformal_plugin.evaluation import Shift, measure_map, shift_of_measures
from conformal_plugin.files import IdList
from conformal_plugin.precision import is_surer, sure_share

__all__ = ["check_comparison", "compared", "surer", "unlabelled_maps"]

_T = TypeVar("_T")


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
    paths = {
        **dict(zip(ids, find_maps(arguments, ids))),
        **dict(zip(unlabelled, find_maps(arguments, unlabelled))),
    }
    measured = _of_each(arguments, paths, ranks, measure_map, "compare")
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


def surer(arguments: argparse.Namespace, ids: IdList, ranks: Ranks, background: int) -> bool | None:
    """Whether the unlabelled maps show an annotator that is surer than the default path expects.

    None without such maps, and where all of them are promised: which of all images are unlabelled
    must not choose the path then.
    """
    if arguments.unlabelled is None or arguments.unlabelled_images is not None:
        return None
    unlabelled = _drawn(arguments, ids)
    paths = dict(zip(unlabelled, find_maps(arguments, unlabelled)))
    read = partial(sure_share, background=background)
    shares = _of_each(arguments, paths, ranks, read, "look at maps")
    found = is_surer(shares.values())
    which = "surer annotators" if found else "the usual annotator"
    note(
        f"the path of precision is that for {which}, by the {len(shares)} unlabelled maps",
        quiet=arguments.quiet,
    )
    return found


def _of_each(
    arguments: argparse.Namespace,
    paths: Mapping[str, Path],
    ranks: Ranks,
    read: Callable[[Any], _T],
    what: str,
) -> dict[str, _T]:
    """What is read of each map, each on one rank, and told to all."""
    mine = {name: paths[name] for name in ranks.share(list(paths))}

    def of_mine() -> dict[str, _T]:
        maps = taken_maps(arguments, list(mine.values()))
        found: dict[str, _T] = {}
        for name, taken in progress(zip(mine, maps), what, total=len(mine), quiet=arguments.quiet):
            with naming(name):
                found[name] = read(taken.value)
        return found

    # Together: a map that one rank cannot read ends all of them.
    parts = ranks.gather(ranks.together(of_mine))
    return {name: value for part in parts for name, value in part.items()}
