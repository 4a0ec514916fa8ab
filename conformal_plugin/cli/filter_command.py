"""``conformal-plugin filter``: pseudo-label PNGs from a folder of maps."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from conformal_plugin.atomic import atomic_write_text
from conformal_plugin.calibration import Calibration
from conformal_plugin.cli.inputs import (
    find_maps,
    find_photos,
    fitted_maps,
    listed_ids,
    naming,
    threshold,
)
from conformal_plugin.cli.label_folder import MANIFEST, LabelFolder
from conformal_plugin.cli.label_summary import LabelSummary
from conformal_plugin.cli.labeller import Labeller
from conformal_plugin.cli.pair_lines import pair_lines
from conformal_plugin.cli.progress import progress
from conformal_plugin.cli.report import number, print_json, warn
from conformal_plugin.errors import OptionError, ShapeError
from conformal_plugin.files.lazy import LazySequence
from conformal_plugin.files.maps import ScoreMap, read_map
from conformal_plugin.filtering import promised_rule, refuse_uninformative

__all__ = ["run"]

_NEARLY_NONE, _NEARLY_ALL = 0.01, 0.99


def run(arguments: argparse.Namespace) -> None:
    """Write the labels that are not there yet, the list and the manifest; print a summary."""
    qhat, ignore_index = threshold(arguments)
    refuse_uninformative(qhat)
    for option in ("resize", "root"):
        if getattr(arguments, option) and arguments.photos is None:
            raise OptionError(f"--{option} is about photos; say where they are with --photos DIR")
    ids = listed_ids(arguments)
    paths = find_maps(arguments, ids)
    settings = _settings(arguments, qhat, ignore_index)
    folder = LabelFolder(arguments.out, settings)
    maps, lines = _maps_and_lines(arguments, ids, paths, folder)
    folder.begin(ids, overwrite=arguments.overwrite)
    summary = LabelSummary(ignore_index)
    todo = _not_done(folder, ids, paths, summary, overwrite=arguments.overwrite)
    num_classes = None
    labeller = Labeller(
        qhat,
        rule=settings["rule"],
        background=settings["background"],
        ignore_index=ignore_index,
    )
    work = progress(
        zip(todo, maps.take(todo)),
        "filter",
        total=len(ids),
        done=len(ids) - len(todo),
        quiet=arguments.quiet,
    )
    for index, scores in work:
        with naming(ids[index]):
            num_classes = _same_classes(scores, num_classes)
            labels = labeller.labels(ids[index], scores)
            folder.write(ids[index], labels, paths[index])
        summary.add(labels)
    labeller.report(len(ids))
    id_list = arguments.id_list or arguments.out / "pseudo_labels.txt"
    atomic_write_text(id_list, "".join(f"{line}\n" for line in lines))
    content = {
        "labels": str(arguments.out),
        "id_list": str(id_list),
        "manifest": str(arguments.out / MANIFEST),
        "written": len(todo),
        "already_there": len(ids) - len(todo),
        **summary.content(),
    }
    _report(content, as_json=arguments.json)


def _settings(arguments: argparse.Namespace, qhat: Any, ignore_index: int) -> dict[str, Any]:
    calibration = qhat if isinstance(qhat, Calibration) else None
    rule, background = promised_rule(qhat, arguments.rule, arguments.background)
    return {
        "qhat": np.asarray(calibration.qhat if calibration else qhat).tolist(),
        "alpha": calibration.alpha if calibration else None,
        "rule": rule,
        "background": background,
        "ignore_index": ignore_index,
        "key": arguments.key,
        "resize": arguments.resize,
    }


def _maps_and_lines(
    arguments: argparse.Namespace, ids: Sequence[str], paths: Sequence[Path], folder: LabelFolder
) -> tuple[LazySequence[ScoreMap], Sequence[str]]:
    """The maps, fitted to photos where there are some, and the lines of the list to write."""
    if arguments.photos is None:
        return LazySequence(lambda path: read_map(path, arguments.key), paths), ids
    photos = find_photos(arguments, ids)
    maps = fitted_maps(arguments, ids, paths, photos, "photo")
    return maps, pair_lines(arguments, photos, [folder.path(name) for name in ids])


def _not_done(
    folder: LabelFolder,
    ids: Sequence[str],
    paths: Sequence[Path],
    summary: LabelSummary,
    *,
    overwrite: bool,
) -> list[int]:
    """Indices of the ids whose label is to be made; the labels that are there are summed up."""
    todo = []
    for index, (name, path) in enumerate(zip(ids, paths)):
        present = None if overwrite else folder.existing(name, path)
        if present is None:
            todo.append(index)
        else:
            summary.add(present)
    return todo


def _same_classes(scores: ScoreMap, num_classes: int | None) -> int:
    count = int(scores.shape[0])
    if num_classes not in (None, count):
        raise ShapeError(
            f"the map has {count} classes and the ones before it {num_classes}; check that all "
            f"come from one annotator"
        )
    return count


def _report(content: Mapping[str, Any], *, as_json: bool) -> None:
    kept = content["kept"]
    if kept < _NEARLY_NONE or kept > _NEARLY_ALL:
        how_much = "nearly nothing" if kept < _NEARLY_NONE else "nearly everything"
        warn(
            f"{how_much} was kept ({100 * kept:.2f} % of pixels), so the threshold decides little; "
            f"look at the precision on labelled images with `conformal-plugin evaluate`, and at "
            f"other alphas"
        )
    if as_json:
        print_json(content)
        return
    print(
        f"{content['written']} labels written to {content['labels']}, {content['already_there']} "
        f"were there; list in {content['id_list']}"
    )
    print(f"kept {number(kept)} of pixels; {content['images_without_label']} images without any")
    print(f"\n{'class':>5} {'share of pixels':>15}")
    for c, share in content["share_per_class"].items():
        print(f"{c:>5} {number(share):>15}")
