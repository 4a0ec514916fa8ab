"""``conformal-plugin evaluate``: coverage, kept share, precision and mIoU over folders."""

from __future__ import annotations

import argparse
import math
from typing import Any

import numpy as np

from conformal_plugin._choices import RULES
from conformal_plugin.cli._inputs import listed_ids, maps_and_labels, naming, threshold
from conformal_plugin.cli._progress import progress
from conformal_plugin.cli._report import number, print_json, warn_of
from conformal_plugin.cli._sharding import Ranks, sharing
from conformal_plugin.errors import OptionError
from conformal_plugin.evaluation import PER_IMAGE, Evaluation, Evaluator, LabelDoubts

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> None:
    """Evaluate and print."""
    with sharing() as ranks:
        arguments.quiet = arguments.quiet or ranks.number > 0
        evaluator, doubts = ranks.together(lambda: _evaluated(arguments, ranks))
        evaluator = evaluator.all_reduce()
        total = LabelDoubts.of_ranks(ranks.gather(doubts))
        ranks.first(lambda: _report(arguments, evaluator, total))


def _evaluated(arguments: argparse.Namespace, ranks: Ranks) -> tuple[Evaluator, LabelDoubts]:
    """The measurements of this rank's share of the images, and what speaks against the labels."""
    qhat, ignore_index, rule = _what_to_measure(arguments)
    listed = listed_ids(arguments)
    ids = listed.take(ranks.share(range(len(listed))))
    maps, labels = maps_and_labels(arguments, ids, qhat)
    evaluator = Evaluator(
        qhat, rule=rule, background=arguments.background, ignore_index=ignore_index
    )
    doubts = LabelDoubts(ignore_index)
    for name, scores, label in progress(
        zip(ids, maps, labels), "evaluate", total=len(ids), quiet=arguments.quiet
    ):
        with naming(name):
            evaluator.update(scores, label)
            doubts.look(name, scores, label)
    return evaluator, doubts


def _report(arguments: argparse.Namespace, evaluator: Evaluator, doubts: LabelDoubts) -> None:
    warn_of(doubts.found())
    content = _content(evaluator.result(), arguments.classes)
    if arguments.json:
        print_json({"qhat": getattr(evaluator.qhat, "qhat", evaluator.qhat), **content})
    else:
        _print_table(content)


def _what_to_measure(arguments: argparse.Namespace) -> tuple[Any, int, str | None]:
    if not arguments.raw:
        return *threshold(arguments), arguments.rule
    if arguments.rule not in (None, "most-probable"):
        raise OptionError(
            f"--raw takes the most probable class of every pixel and --rule asks for "
            f"{arguments.rule}; leave one of them out"
        )
    ignore_index = 255 if arguments.ignore_index is None else arguments.ignore_index
    return math.inf, ignore_index, "most-probable"


def _content(result: Evaluation, classes: list[int] | None) -> dict[str, Any]:
    coverage = np.sort(result.image_coverage)  # so that ranks print what one process prints
    per_image = np.quantile(coverage, [0.0, 0.25, 0.5, 0.75])
    content = {name: value for name, value in result.to_dict().items() if name not in PER_IMAGE}
    content["image_coverage"] = {
        "mean": coverage.mean(),
        **dict(zip(("min", "quartile_1", "median", "quartile_3"), per_image)),
    }
    content["iou_per_class"] = result.iou_per_class()
    content["pixels_per_class"] = result.confusion.sum(axis=1)
    if classes is not None:
        content["classes"] = classes
        content["miou_classes"] = result.miou(classes)
        content["miou_classes_kept"] = result.miou(classes, dropped="ignore")
    return content


def _print_table(content: dict[str, Any]) -> None:
    spread = content["image_coverage"]
    print(f"{content['n_images']} images, {content['n_pixels']} pixels, rule {content['rule']}")
    print(f"coverage   {number(content['coverage'])} of pixels")
    print(
        f"           per image: mean {number(spread['mean'])}, min {number(spread['min'])}, "
        f"quartiles {number(spread['quartile_1'])} {number(spread['median'])} "
        f"{number(spread['quartile_3'])}"
    )
    print(f"set size   {number(content['set_size'])} classes on average")
    print(f"kept       {number(content['kept'])} of pixels")
    print(f"precision  {number(content['precision'])} of kept pixels")
    if content["rule"] == RULES[0]:
        print(
            f"           {number(content['foreground_precision'])} of those that are not background"
        )
    print(
        f"mIoU       {number(content['miou'])} over the classes present, dropped pixels as misses; "
        f"{number(content['miou_kept'])} on kept pixels"
    )
    if "classes" in content:
        print(
            f"           {number(content['miou_classes'])} over classes "
            f"{' '.join(map(str, content['classes']))}; "
            f"{number(content['miou_classes_kept'])} on kept pixels"
        )
    print(f"\n{'class':>5} {'pixels':>10} {'kept':>8} {'precision':>9} {'IoU':>8}")
    columns = ("pixels_per_class", "kept_per_class", "precision_per_class", "iou_per_class")
    for c, (pixels, kept, precision, iou) in enumerate(zip(*(content[name] for name in columns))):
        print(f"{c:>5} {pixels:>10} {number(kept):>8} {number(precision):>9} {number(iou):>8}")
