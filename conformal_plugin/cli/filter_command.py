"""``conformal-plugin filter``: pseudo-label PNGs from a folder of maps."""

from __future__ import annotations

import argparse
import os
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
from conformal_plugin.cli.progress import progress
from conformal_plugin.cli.report import number, print_json, warn
from conformal_plugin.errors import OptionError, ShapeError, UninformativeThresholdError
from conformal_plugin.files.lazy import LazySequence
from conformal_plugin.files.maps import ScoreMap, read_map
from conformal_plugin.filtering import filter as filter_masks
from conformal_plugin.filtering import label_dtype, promised_rule, refuse_uninformative

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
    unsure: list[str] = []
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
            try:
                labels = filter_masks(
                    scores,
                    qhat,
                    rule=settings["rule"],
                    background=settings["background"],
                    ignore_index=ignore_index,
                )
            except UninformativeThresholdError:  # of this one image: nothing can be learnt from it
                unsure.append(ids[index])
                labels = _nothing_kept(scores, ignore_index)
            folder.write(ids[index], labels, paths[index])
        summary.add(np.asarray(labels))
    _report_unsure(unsure, len(ids))
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
    return maps, _pair_lines(arguments, photos, [folder.path(name) for name in ids])


def _pair_lines(
    arguments: argparse.Namespace, photos: Sequence[Path], labels: Sequence[Path]
) -> list[str]:
    """Lines ``PHOTO LABEL`` as training code joins them to its data root."""
    folders = (arguments.photos.absolute(), arguments.out.absolute())
    root = (arguments.root or Path(os.path.commonpath(folders))).absolute()
    lines = []
    for pair in zip(photos, labels):
        relative = [os.path.relpath(path.absolute(), root) for path in pair]
        if root == Path(root.anchor):  # nothing in common: absolute paths join to any data root
            relative = [str(path.absolute()) for path in pair]
        elif any(path.startswith(os.pardir) for path in relative):
            raise OptionError(
                f"--root {arguments.root} does not hold both {pair[0]} and {pair[1]}; name a "
                f"folder that holds photos and labels, or leave it out"
            )
        if any(len(path.split()) != 1 for path in relative):
            raise OptionError(
                f"lines PHOTO LABEL are separated by a space, and {' or '.join(relative)} has one "
                f"in its name; rename it, or leave --photos out"
            )
        lines.append(" ".join(Path(path).as_posix() for path in relative))
    return lines


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


def _nothing_kept(scores: ScoreMap, ignore_index: int) -> np.ndarray[Any, Any]:
    dtype = str(label_dtype(len(scores), ignore_index)).removeprefix("torch.")
    return np.full(tuple(scores.shape[1:]), ignore_index, dtype=dtype)


def _report_unsure(unsure: Sequence[str], images: int) -> None:
    """Say which images hold every class in every set; refuse when that is all of them.

    Raises:
        UninformativeThresholdError: no image has a pixel with a class outside its set.
    """
    if not unsure:
        return
    if len(unsure) == images:
        raise UninformativeThresholdError(
            f"every class is in the prediction set of every pixel of all {images} images, so no "
            f"label says anything; calibrate with a larger alpha or more labelled images"
        )
    shown = ", ".join(unsure[:3]) + (", ..." if len(unsure) > 3 else "")
    warn(
        f"{len(unsure)} of {images} images have every class in the set of every pixel and were "
        f"dropped whole: {shown}"
    )


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
