"""The main job: calibrate, filter, train a student in two stages, and print the ablation table."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from ablation import plan, summarise, table
from label_sources import calibrate_on_labelled, label_sources
from material import Material
from pictures import draw_pictures
from run_options import changed, check_counts, check_data, exit_code, new_parser, prepare
from score_forms import FORMS
from training import Recipe
from trainings import Store, run_all

from conformal_plugin._atomic import atomic_write_text

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
    return exit_code("quickstart", lambda: _run(options))


def _run(options: argparse.Namespace) -> int:
    began = time.perf_counter()
    base = SCENES if options.data is None else PHOTOS[options.student or "pretrained"]
    recipe = changed(base, steps=options.steps)
    prepare(recipe)
    material = _material(options)
    print(
        f"{material.name}: {len(material.labelled)} labelled, {len(material.unlabelled)} "
        f"unlabelled and {len(material.test)} test images, {len(material.classes)} classes"
    )
    calibrations, sources = {}, {}
    for form in material.annotations:
        calibrations[form], words = calibrate_on_labelled(material, form, options.alpha)
        print(f"\n{form} scores: {calibrations[form]!r}\n{words}")
        sources[form] = label_sources(material, form, calibrations[form])
        picture = options.out / f"labels-{form}.png"
        draw_pictures(
            picture, material, sources[form]["raw"].maps, sources[form]["calibrated"].maps
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
        f"{material.name}, {form} scores, {seeds}, {recipe.steps} steps; labels measured "
        "on the unlabelled images, students on the test images, in percent"
    )


def _material(options: argparse.Namespace) -> Material:
    # Imported where they are needed: the one needs Pillow's decoders, the other trains a network.
    if options.data is None:
        from embedded import make_material

        return make_material()
    from voc_like import read_material

    forms = FORMS if options.scores == "both" else (options.scores,)
    return read_material(options.data, forms, options.limit)


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "quickstart.py",
        __doc__,
        EXAMPLES,
        data=" (default: generated scenes)",
        seeds=", seeds 0 to N-1 (default: 3; with --data 1)",
        steps=f" (default: {SCENES.steps}; with --data {PHOTOS['pretrained'].steps})",
        out="results, pictures",
        of_photos="with --data: ",
    )
    parser.add_argument(
        "--scores",
        choices=(*FORMS, "both"),
        help="with --data: the maps as they are, or SEEM-like ones made from them (default: both)",
    )
    parser.add_argument(
        "--alpha",
        type=float,
        help="miscoverage level, with foreground-first (default: thresholds, alpha and rule that "
        "the labelled images support)",
    )
    return parser


def _check(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Refuse options that make no sense, and fill in the defaults that depend on --data."""
    if options.alpha is not None and not 0 < options.alpha < 1:
        parser.error(f"--alpha must be above 0 and below 1, got {options.alpha:g}; try 0.05")
    if options.data is None:
        given = [name for name in ("scores", "student", "limit") if vars(options)[name] is not None]
        if given:
            parser.error(f"--{given[0]} is for real photos; add --data DIR or leave it out")
    else:
        check_data(options.data, parser)
    if options.scores is None:
        options.scores = "both"
    if options.seeds is None:
        options.seeds = 3 if options.data is None else 1
    check_counts(options, parser, limit=1)


if __name__ == "__main__":
    sys.exit(main())
