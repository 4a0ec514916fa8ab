"""``conformal-plugin annotate``: from photos to score maps, or to pseudo-labels in one pass."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from conformal_plugin.annotators import Batch, Result, SliceAnnotator, in_batches, through
from conformal_plugin.cli._annotation_targets import target
from conformal_plugin.cli._annotator_choice import chosen_annotator
from conformal_plugin.cli._inputs import find_photos, ids_of_list, naming_of
from conformal_plugin.cli._progress import progress
from conformal_plugin.cli._report import note, print_json, warn
from conformal_plugin.cli._sharding import met
from conformal_plugin.cli._taken_photos import TakenPhotos
from conformal_plugin.errors import OptionError, SourceFileError
from conformal_plugin.files import IdList, Window, photo_suffixes, photos_in_folder

__all__ = ["run"]

NOTE_SECONDS = 60.0
"""How often a run without a terminal says how far it is."""


def run(arguments: argparse.Namespace) -> None:
    """Annotate this rank's photos that have no result yet; print a summary."""
    for option in ("batch_size", "readers", "writers"):
        if getattr(arguments, option) < 1:
            raise OptionError(
                f"--{option.replace('_', '-')} must be at least 1, got {getattr(arguments, option)}"
            )
    if arguments.calibration is None and (arguments.rule or arguments.root):
        raise OptionError("--rule and --root are about labels; they need --calibration")
    if arguments.calibration is None and (
        arguments.label_map or arguments.grey or arguments.own_numbers
    ):
        raise OptionError(
            "--label-map, --grey and --own-numbers are about label files; they need --calibration"
        )
    if arguments.window is not None and arguments.calibration is not None:
        raise OptionError(
            "--window is for maps; leave --calibration out, and label the maps with `filter`"
        )
    window = None if arguments.window is None else Window.of(arguments.window)
    rank = met()
    listed = _ids(arguments)
    ids = listed.ids
    paths = dict(zip(ids, find_photos(arguments, listed)))
    photos = TakenPhotos(paths, follow_exif=arguments.follow_exif, window=window)
    kept = target(arguments, photos)
    annotator = chosen_annotator(arguments, rank)
    for line in getattr(annotator, "notes", ()):
        note(line, quiet=arguments.quiet or rank.number > 0)
    together = arguments.batch_size
    if window is not None:  # of a volume its slices go through the model together
        annotator, together = SliceAnnotator(annotator, together, arguments.precision), 1
    kept.begin(annotator)
    if rank.number == 0:
        kept.clear_away()
    share = rank.share(in_batches(ids, together))
    batches: list[Batch] = [
        (batch, frozenset(name for name in batch if not kept.holds(name))) for batch in share
    ]
    mine = sum(len(batch) for batch in share)
    todo = sum(len(wanted) for _, wanted in batches)
    results = through(
        annotator,
        batches,
        read=photos.read,
        write=kept.write,
        readers=arguments.readers,
        writers=arguments.writers,
        skip_failing=arguments.skip_failing,
    )
    skipped = [
        result
        for result in _shown(results, mine, mine - todo, quiet=arguments.quiet or rank.number > 0)
        if result.problem
    ]
    if mine and len(skipped) == mine:
        raise SourceFileError(
            f"none of the {mine} photos could be annotated; the first: {skipped[0].problem}"
        )
    _note_turned(photos, quiet=arguments.quiet)
    content = {
        "rank": rank.number,
        "world": rank.world,
        "photos": mine,
        "written": todo - len(skipped),
        "already_there": mine - todo,
        "skipped": {result.name: result.problem for result in skipped},
        **kept.finish(mine - len(skipped)),
    }
    _report(content, skipped, arguments.out, as_json=arguments.json)


def _ids(arguments: argparse.Namespace) -> IdList:
    if arguments.ids is None:
        photos = arguments.photos
        return photos_in_folder(photos, photo_suffixes(photos), naming_of(arguments))
    return ids_of_list(arguments, arguments.ids)


def _note_turned(photos: TakenPhotos, *, quiet: bool) -> None:
    if not photos.turned:
        return
    names = ", ".join(photos.turned[:3]) + (", ..." if len(photos.turned) > 3 else "")
    how = "turned so" if photos.follow_exif else "taken as stored"
    what = (
        "training code must turn them, too"
        if photos.follow_exif
        else ("masks drawn in a viewer are turned, for which --follow-exif is")
    )
    note(
        f"the EXIF of {len(photos.turned)} photos says that they are to be turned ({names}), and "
        f"they were {how}: {what}",
        quiet=quiet,
    )


def _shown(results: Iterator[Result], total: int, done: int, *, quiet: bool) -> Iterator[Result]:
    """The results, with a bar on a terminal and now and then a line elsewhere."""
    if quiet or sys.stderr.isatty():
        yield from progress(results, "annotate", total=total, done=done, quiet=quiet)
        return
    start = said = time.monotonic()
    for number, result in enumerate(results, start=1):
        yield result
        now = time.monotonic()
        if now - said >= NOTE_SECONDS:
            said = now
            rate = number / (now - start)
            left = (total - done - number) / rate
            note(
                f"{done + number} of {total} photos, {rate:.2f} a second, {left / 60:.0f} min left",
                quiet=False,
            )


def _report(
    content: dict[str, Any], skipped: Sequence[Result], out: Path, *, as_json: bool
) -> None:
    if as_json:
        print_json(content)
    else:
        what = "labels" if "labels" in content else "maps"
        who = f"rank {content['rank']} of {content['world']}: " if content["world"] > 1 else ""
        print(
            f"{who}{content['written']} {what} written to {out}, {content['already_there']} were "
            f"there, {len(skipped)} photos skipped"
        )
        if "kept" in content:
            print(f"kept {content['kept']:.4f} of pixels; list in {content['id_list']}")
    if skipped:
        listed = "\n".join(f"  {result.name}: {result.problem}" for result in skipped)
        warn(
            f"{len(skipped)} photos could not be annotated and have no result; mend them and run "
            f"the same command again, or take them off the id list:\n{listed}"
        )
