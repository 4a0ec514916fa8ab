"""``conformal-plugin choose``: a proposal for alpha and the rule, from folders."""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

import numpy as np

from conformal_plugin._atomic import atomic_write_text, sweep
from conformal_plugin.choosing import Candidate, Choice, choose
from conformal_plugin.cli._groups import groups_of
from conformal_plugin.cli._inputs import (
    class_or_none,
    find_labels,
    find_maps,
    listed_ids,
    maps_and_labels,
    naming_of_all,
    own_map_paths,
    own_maps,
)
from conformal_plugin.cli._label_maps import label_map_of
from conformal_plugin.cli._outputs import named_files, refuse_folders, refuse_inputs
from conformal_plugin.cli._progress import Readings
from conformal_plugin.cli._report import print_json, warn, warn_of
from conformal_plugin.cli._whose_maps import without_fitted
from conformal_plugin.evaluation import LabelDoubts

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> None:
    """Choose, write what is asked for, and print the table and the proposal."""
    refuse_folders(arguments, "output", "calibration_out")
    ids = without_fitted(arguments, listed_ids(arguments))
    refuse_inputs(
        {"--output": [arguments.output], "--calibration-out": [arguments.calibration_out]},
        {
            **named_files(arguments),
            "a map": find_maps(arguments, ids),
            "a label": find_labels(arguments, ids),
            "a map of --own-maps": own_map_paths(arguments, ids),
        },
    )
    ignore_index = 255 if arguments.ignore_index is None else arguments.ignore_index
    doubts = LabelDoubts(ignore_index)
    maps, labels = maps_and_labels(arguments, ids, doubts=doubts)
    with naming_of_all(ids.ids):
        choice = choose(
            Readings(maps, "choose", quiet=arguments.quiet),
            labels,
            want_precision=arguments.want_precision,
            want_kept=arguments.want_kept,
            want_recall=arguments.want_recall,
            alphas=arguments.alpha,
            class_alphas=arguments.class_alpha,
            rules=arguments.rule,
            classes=arguments.classes,
            background=class_or_none(arguments.background),
            ignore_index=ignore_index,
            folds=arguments.folds,
            ids=ids.ids,
            own=own_maps(arguments, ids),
            groups=groups_of(arguments, ids),
        )
    warn_of(doubts.found())
    outputs = [path for path in (arguments.output, arguments.calibration_out) if path is not None]
    sweep((path.parent for path in outputs), {path.name for path in outputs}.__contains__)
    if arguments.output is not None:
        atomic_write_text(arguments.output, choice.to_json())
    _write_calibration(arguments, choice)
    if arguments.json:
        print_json(json.loads(choice.to_json()))
    else:
        _print_table(choice)
        _print_next(arguments, choice)


def _write_calibration(arguments: argparse.Namespace, choice: Choice) -> None:
    if not choice.worth_using:
        warn(choice.verdict.splitlines()[0])
    path = arguments.calibration_out
    if path is None:
        return
    if choice.calibration is None:
        warn(f"{path} is not written: what is proposed needs no threshold")
    elif not choice.worth_using:
        warn(f"{path} is not written: no threshold makes these labels worth using")
    else:
        choice.calibration.with_label_map(label_map_of(arguments)).save(path)


_MEASURES = ("information", "miou", "precision", "kept", "recall")


def _print_table(choice: Choice) -> None:
    classes = " ".join(map(str, choice.classes))
    kind = "all objects" if choice.background is None else f"all objects but {choice.background}"
    of_groups = "" if choice.n_groups is None else f" of {choice.n_groups} groups"
    unit = "image" if choice.n_groups is None else "group"
    print(
        f"{choice.n_images} images{of_groups}, {choice.folds} folds; in percent, ± one standard "
        f"error over {unit}s;\nmIoU over classes {classes}, {kind}; dropped pixels are misses of "
        f"mIoU\nand recall. Tells: the share of what there is to know, 0 for one label everywhere\n"
    )
    headings = " ".join(f"{name:>12}" for name in ("tells", "mIoU", "precision", "kept", "recall"))
    print(f"{'rule':<25} {'alpha':>5} {'q-hat':>8} {headings}")
    for candidate in choice.candidates:
        _print_candidate(candidate, "  <- proposed" if candidate is choice.proposed else "")
    baseline = choice.constant
    for name, row in ((f"class {baseline.label} everywhere", baseline), ("own model", choice.own)):
        if row is not None:
            shares = (getattr(row, measure, 1.0) for measure in _MEASURES)
            print(f"{name:<40} {' '.join(f'{_percent(share):<12}' for share in shares).rstrip()}")
    print(f"\n{choice.verdict}")


def _print_candidate(candidate: Candidate, remark: str) -> None:
    name = "per class, " if candidate.thresholds == "class-conditional" else ""
    name += candidate.rule
    if candidate.rule == "foreground-first" and candidate.background:
        name += f", bg {candidate.background}"
    if not candidate.usable:
        print(
            f"{name:<25} {candidate.alpha:>5g} {candidate.qhat:>8.4f} "
            f"  says nothing: every class is in every set"
        )
        return
    start = f"{'raw (argmax)':<25} {'-':>5} {'-':>8}"
    if candidate.alpha is not None:
        start = f"{name:<25} {candidate.alpha:>5g} {candidate.qhat:>8.4f}"
    shares = " ".join(
        _share(getattr(candidate, measure), getattr(candidate, f"{measure}_se"))
        for measure in _MEASURES
    )
    print(f"{start} {shares}{remark}")


def _share(value: float, error: float) -> str:
    if math.isnan(value):
        return f"{'-':>12}"
    return f"{_percent(value)} ± {'?' if math.isnan(error) else f'{100 * error:.1f}':>4}"


def _percent(value: float) -> str:
    return f"{'-' if math.isnan(value) else f'{100 * value:.1f}':>5}"


def _print_next(arguments: argparse.Namespace, choice: Choice) -> None:
    if choice.calibration is None or not choice.worth_using:
        return
    how = (
        f"--qhat {_typed(choice.calibration.qhat)} --rule {choice.rule}"
        if arguments.calibration_out is None
        else f"--calibration {arguments.calibration_out}"  # which remembers the rule
    )
    command = f"conformal-plugin filter --maps {arguments.maps} {how} --ids UNLABELLED --out DIR"
    print(f"\nLabels: {command}")


def _typed(qhat: Any) -> str:
    """Thresholds as they are typed after ``--qhat``, all digits of each."""
    return " ".join(map(repr, np.atleast_1d(qhat).tolist()))
