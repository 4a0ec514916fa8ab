"""``conformal-plugin plan``: how many images to label, and which."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conformal_plugin._atomic import atomic_write_text, sweep
from conformal_plugin.calibration import images_needed
from conformal_plugin.choosing import NextPhotos, next_photos
from conformal_plugin.cli._groups import groups_of
from conformal_plugin.cli._inputs import (
    find_labels,
    find_maps,
    fitted_maps,
    ids_of_list,
    naming,
    taken_labels,
    taken_maps,
)
from conformal_plugin.cli._label_maps import label_reader
from conformal_plugin.cli._outputs import named_files, refuse_inputs
from conformal_plugin.cli._progress import progress
from conformal_plugin.cli._report import print_json
from conformal_plugin.errors import OptionError
from conformal_plugin.evaluation import measure_map
from conformal_plugin.files import IdList, read_ids
from conformal_plugin.precision import (
    PrecisionCalibrator,
    PrecisionTarget,
    forecast,
    precision_images_needed,
)

__all__ = ["run"]

_SIZES = (0.5, 1, 2, 4, 8)
_LISTS = ("for_calibration", "for_training")
_WARNING = (
    "chosen by their scores, so that they are like no other photos. Train on them; never calibrate "
    "or test on them."
)


def run(arguments: argparse.Namespace) -> None:
    """Plan, write the lists that are asked for, and print."""
    _check(arguments)
    alphas = arguments.alpha or [0.05]
    epsilons = arguments.epsilon or [0.05, 0.1]
    content: dict[str, Any] = {
        "unit": "image" if arguments.groups is None and arguments.group_by is None else "group",
        "coverage": [{"alpha": a, "images": images_needed(a)} for a in alphas],
        "precision": [
            {
                "epsilon": e,
                "delta": arguments.delta,
                "images": precision_images_needed(e, arguments.delta),
                "images_half_kept": precision_images_needed(e, arguments.delta, kept=0.5),
            }
            for e in epsilons
        ],
    }
    if arguments.labels is not None:
        content["forecast"] = _forecast(arguments, epsilons)
    chosen = _next(arguments)
    if chosen is not None:
        content |= {name: list(getattr(chosen, name)) for name in _LISTS}
    if arguments.json:
        print_json(content)
    else:
        _print(content, arguments)


def _check(arguments: argparse.Namespace) -> None:
    if (arguments.labels is None) != (arguments.ids is None):
        raise OptionError("--labels and --ids go together: the photos that are labelled already")
    if arguments.labels is not None and arguments.maps is None:
        raise OptionError("a forecast reads the maps of the labelled photos; pass --maps")
    asked = arguments.calibrate_on or arguments.train_on
    if (arguments.unlabelled is None) != (not asked):
        raise OptionError(
            "--unlabelled goes with --calibrate-on or --train-on: how many photos to label next"
        )
    if arguments.train_on and arguments.maps is None:
        raise OptionError("--train-on chooses by the maps; pass --maps")
    if (arguments.out is None) != (arguments.unlabelled is None):
        raise OptionError("--out is where the lists of photos to label go; pass it with them")


def _forecast(arguments: argparse.Namespace, epsilons: Sequence[float]) -> list[dict[str, Any]]:
    ids = _listed(arguments, arguments.ids)
    groups = groups_of(arguments, ids)
    paths, label_paths = find_maps(arguments, ids), find_labels(arguments, ids)
    maps = fitted_maps(arguments, ids, paths, label_paths, "label")
    calibrator = PrecisionCalibrator(
        rule=arguments.rule,
        background=arguments.background,
        ignore_index=255 if arguments.ignore_index is None else arguments.ignore_index,
    )
    pairs = zip(ids, maps, taken_labels(label_reader(arguments), label_paths))
    for name, scores, label in progress(pairs, "plan", total=len(ids), quiet=arguments.quiet):
        with naming(name):
            calibrator.update(scores.value, label.value, [name], groups)
    counts = calibrator.counts()
    units = calibrator.n_groups or calibrator.n_images
    found = []
    for epsilon in epsilons:
        target = PrecisionTarget(epsilon, arguments.delta)
        sizes = sorted({max(1, round(units * factor)) for factor in _SIZES})
        for one in forecast(counts, calibrator.path, target, sizes):
            found.append({"epsilon": epsilon, **vars(one)})
    return found


def _next(arguments: argparse.Namespace) -> NextPhotos | None:
    if arguments.unlabelled is None:
        return None
    known = set() if arguments.ids is None else set(_listed(arguments, arguments.ids))
    listed = _listed(arguments, arguments.unlabelled)
    ids = listed.take([place for place, name in enumerate(listed) if name not in known])
    targets = {name: arguments.out / f"{name}.txt" for name in _LISTS}
    refuse_inputs({"--out": list(targets.values())}, named_files(arguments))
    chosen = next_photos(
        ids.ids,
        for_calibration=arguments.calibrate_on,
        for_training=arguments.train_on,
        sureness=_sureness(arguments, ids) if arguments.train_on else None,
        groups=groups_of(arguments, ids),
        seed=arguments.seed,
    )
    sweep([arguments.out], {target.name for target in targets.values()}.__contains__)
    for name, target in targets.items():
        names = getattr(chosen, name)
        if names:
            atomic_write_text(target, "\n".join(names) + "\n")
    return chosen


def _listed(arguments: argparse.Namespace, path: Path) -> IdList:
    """The photos of a list, as their maps are called where there are any."""
    return read_ids(path) if arguments.maps is None else ids_of_list(arguments, path)


def _sureness(arguments: argparse.Namespace, ids: IdList) -> dict[str, float]:
    """The mean score of the most probable class of each photo's pixels."""
    found = {}
    maps = taken_maps(arguments, find_maps(arguments, ids))
    for name, taken in progress(zip(ids, maps), "plan", total=len(ids), quiet=arguments.quiet):
        with naming(name):
            found[name] = float(measure_map(taken.value).general[0])
    return found


def _print(content: dict[str, Any], arguments: argparse.Namespace) -> None:
    unit = content["unit"]
    for row in content["coverage"]:
        print(
            f"alpha {row['alpha']:g}: coverage per {unit} takes at least {row['images']} labelled "
            f"{unit}s, and about twice as many to be of use"
        )
    for row in content["precision"]:
        print(
            f"epsilon {row['epsilon']:g}, delta {row['delta']:g}: precision takes at least "
            f"{row['images']} labelled {unit}s without a wrong label, where all is kept that a cap "
            f"lets through ({row['images_half_kept']} where half of it is); each error asks for "
            f"more"
        )
    if "forecast" in content:
        print(
            f"\nA guess by drawing from the labelled {unit}s (with replacement, no promise):\n"
            f"{'epsilon':>8} {unit + 's':>7} {'nothing kept':>13} {'kept':>6}"
        )
        for row in content["forecast"]:
            print(
                f"{row['epsilon']:>8g} {row['units']:>7} {row['nothing']:>13.2f} "
                f"{row['kept']:>6.2f}"
            )
    if "for_calibration" in content:
        numbers = {name: len(content[name]) for name in _LISTS}
        print()
        if numbers["for_calibration"]:
            print(
                f"{arguments.out / 'for_calibration.txt'}: {numbers['for_calibration']} photos "
                f"drawn at random (seed {arguments.seed}). Label all of them, and calibrate on "
                f"them with those that were drawn at random before."
            )
        if numbers["for_training"]:
            print(f"{arguments.out / 'for_training.txt'}: {_WARNING}")
