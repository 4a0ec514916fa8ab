"""The main job: calibrate, filter, train a student in two stages, and print the ablation table."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from ablation import plan, summarise, table
from label_sources import calibrate_on_labelled, explain, label_sources
from material import Material
from pictures import draw_pictures
from score_forms import FORMS
from students import PretrainedStudent
from training import Recipe
from trainings import Store, run_all

from conformal_plugin._atomic import atomic_write_text
from conformal_plugin.errors import ConformalError

__all__ = ["main"]

EXAMPLES = """\
examples:
  python examples/quickstart.py
      scenes and an annotator that are made on the spot; about two minutes on 2 cores
  python examples/quickstart.py --data ../voc-animals --scores both --alpha 0.05
      real photos, an ImageNet student, both forms of scores
  python examples/quickstart.py --data ../voc-animals --scores seem-like --student small
      the same without pretrained weights

A run that was stopped goes on where it was when it is started again with the same options.
"""

# For the embedded scenes, and for real photos with and without pretrained weights.
SCENES = Recipe("small", steps=120, crop=64, zoom=(1.0, 1.0), lr=4e-3, new_lr=4e-3)
PHOTOS = {
    "pretrained": Recipe("pretrained", steps=300, crop=160, zoom=(0.7, 1.2), lr=5e-4, new_lr=2e-3),
    "small": Recipe("small", steps=300, crop=160, zoom=(0.7, 1.2), lr=2e-3, new_lr=2e-3),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the ablation that the command line asks for; return the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    _check(options, parser)
    try:
        return _run(options)
    except ConformalError as error:
        print(f"\nquickstart: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nquickstart: stopped; the same command goes on from here", file=sys.stderr)
        return 130


def _run(options: argparse.Namespace) -> int:
    began = time.perf_counter()
    # Networks this small are trained fastest one to a core: more threads wait for each other.
    torch.set_num_threads(1)
    recipe = _recipe(options)
    if recipe.student == "pretrained":
        PretrainedStudent(2)  # a missing package is reported before anything is read
    material = _material(options)
    print(
        f"{material.name}: {len(material.labelled)} labelled, {len(material.unlabelled)} "
        f"unlabelled and {len(material.test)} test images, {len(material.classes)} classes"
    )
    calibrations, sources = {}, {}
    for form in material.annotations:
        calibrations[form] = calibrate_on_labelled(material, form, options.alpha)
        print(f"\n{calibrations[form]!r}\n{explain(calibrations[form], form)}")
        sources[form] = label_sources(material, form, calibrations[form])
        picture = options.out / f"labels-{form}.png"
        draw_pictures(
            picture, material, sources[form]["raw"].maps, sources[form]["foreground-first"].maps
        )
        print(f"Pictures of photo, truth, raw and kept labels: {picture}", flush=True)
    seeds = range(options.seeds)
    store = Store(options.out / "trained")
    jobs, digests = plan(material, recipe, sources, seeds)
    trained = run_all(jobs, material, recipe, store, options.workers)
    report: dict[str, Any] = {
        "data": material.name,
        "alpha": options.alpha,
        "seeds": list(seeds),
        "recipe": {**vars(recipe), "stage1": recipe.stage1},
        "forms": {},
    }
    differs = len(material.core) < len(material.classes)
    for form, calibration in calibrations.items():
        rows = summarise(form, sources[form], digests, seeds, store)
        report["forms"][form] = {"calibration": json.loads(calibration.to_json()), "rows": rows}
        print(f"\n{_heading(material, form, options, recipe)}\n\n{table(rows, differs)}")
    atomic_write_text(options.out / "results.json", json.dumps(report, indent=1))
    print(
        f"\n{trained} trainings in {time.perf_counter() - began:.0f} s; results: "
        f"{options.out / 'results.json'}"
    )
    return 0


def _heading(material: Material, form: str, options: argparse.Namespace, recipe: Recipe) -> str:
    seeds = f"{options.seeds} seeds" if options.seeds > 1 else "1 seed"
    return (
        f"{material.name}, {form} scores, alpha {options.alpha:g}, {seeds}, {recipe.steps} steps; "
        "labels measured on the unlabelled images, students on the test images, in percent"
    )


def _material(options: argparse.Namespace) -> Material:
    # Imported where they are needed: the one needs Pillow's decoders, the other trains a network.
    if options.data is None:
        from embedded import make_material

        return make_material()
    from voc_like import read_material

    forms = FORMS if options.scores == "both" else (options.scores,)
    return read_material(options.data, forms, options.limit)


def _recipe(options: argparse.Namespace) -> Recipe:
    base = SCENES if options.data is None else PHOTOS[options.student or "pretrained"]
    return base if options.steps is None else Recipe(**{**vars(base), "steps": options.steps})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="quickstart.py",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder with images/, labels/, probs/ and splits/ (default: generated scenes)",
    )
    parser.add_argument(
        "--scores",
        choices=(*FORMS, "both"),
        help="with --data: the maps as they are, or SEEM-like ones made from them (default: both)",
    )
    parser.add_argument(
        "--alpha", type=float, default=0.05, help="miscoverage level (default: 0.05)"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="students per row, seeds 0 to N-1 (default: 3; with --data 1)",
    )
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="training steps of a student (default: 120; with --data 300)",
    )
    parser.add_argument(
        "--student",
        choices=tuple(PHOTOS),
        help="with --data: ImageNet weights, or a small network (default: pretrained)",
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="with --data: only the first N images of each split"
    )
    parser.add_argument(
        "--workers",
        type=int,
        default=max(1, min(2, os.cpu_count() or 1)),
        metavar="N",
        help="students trained at a time, one core each (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("runs/quickstart"),
        metavar="DIR",
        help="results, pictures and finished trainings (default: %(default)s)",
    )
    return parser


def _check(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse options that make no sense, and fill in the defaults that depend on --data."""
    if not 0 < options.alpha < 1:
        parser.error(f"--alpha must be above 0 and below 1, got {options.alpha:g}; try 0.05")
    if options.data is None:
        given = [name for name in ("scores", "student", "limit") if vars(options)[name] is not None]
        if given:
            parser.error(f"--{given[0]} is for real photos; add --data DIR or leave it out")
    elif not options.data.is_dir():
        parser.error(
            f"--data {options.data}: no such folder; "
            "give one with images/, labels/, probs/ and splits/"
        )
    if options.scores is None:
        options.scores = "both"
    if options.seeds is None:
        options.seeds = 3 if options.data is None else 1
    for name, least in (("seeds", 1), ("steps", 4), ("limit", 1), ("workers", 1)):
        value = vars(options)[name]
        if value is not None and value < least:
            parser.error(f"--{name} must be at least {least}, got {value}")


if __name__ == "__main__":
    sys.exit(main())
