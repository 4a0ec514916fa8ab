"""The study on real photos: which pseudo-labels help a student, by form of scores and labelling."""

from __future__ import annotations

import argparse
import hashlib
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from degraded import DEGRADED
from material import Material
from run_options import changed, check_counts, check_data, exit_code, new_parser, prepare
from score_forms import FORMS
from study_figure import figure
from study_labels import Labelling, Labels, LabelShelf
from study_lesson import label_sets, lesson
from study_report import lines_of, read_csv, tables, write_csv
from study_rows import GROUPS, Row, needed, plan, rows
from study_scatter import scatter
from tqdm import tqdm
from training import Recipe
from trainings import Store, run_all
from voc_like import read_ids, read_material

from conformal_plugin._atomic import atomic_write_text

__all__ = ["main"]

EXAMPLES = """\
examples:
  python examples/study.py --data ../voc-animals --only labels
      how good the labels of every row are, without training: some minutes
  python examples/study.py --data ../voc-animals
      everything, the most telling rows first: hours on 2 cores
  python examples/study.py --data ../voc-animals --only main --seeds 1 --minutes 30
      the eight main rows once; begins no training after half an hour
  python examples/study.py --table
      tables and figures of what is done so far

A study that was stopped or killed goes on when it is started again with the same options, and loses
at most the trainings in progress. results.csv holds all that is known at any time.
"""

RECIPE = Recipe("pretrained", steps=240, crop=128, zoom=(0.5, 1.0), lr=5e-4, new_lr=2e-3)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the part of the study that the command line asks for; return the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    _check(options, parser)
    return exit_code("study", lambda: _show(options.out) if options.table else _run(options))


def _run(options: argparse.Namespace) -> int:
    deadline = None if options.minutes is None else time.monotonic() + 60 * options.minutes
    recipe = changed(RECIPE, steps=options.steps, student=options.student)
    prepare(recipe)
    material = read_material(options.data, (*FORMS, *DEGRADED), options.limit)
    every = rows(len(material.labelled), options.seeds)
    labels = _labels(options, material, every)
    store = Store(options.out / "trained")
    jobs, digests = plan(material, recipe, every, labels)

    def write() -> None:
        write_csv(options.out / "results.csv", lines_of(every, labels, digests, store))

    write()
    if options.only == "labels":
        print(f"labels of {len(every)} rows measured: {options.out / 'results.csv'}")
        return 0
    wanted = {digests[row] for row in every if options.only in (None, row.group)}
    some = [job for job in jobs if (job.self_reliant or job.plain) in wanted]
    done = run_all(
        some, material, recipe, store, options.workers, on_result=write, deadline=deadline
    )
    left = sum(any(job.due(store)) for job in some)
    print(f"\n{done} trainings done, {left} left; results: {options.out / 'results.csv'}")
    return 0


def _labels(
    options: argparse.Namespace, material: Material, every: Sequence[Row]
) -> dict[tuple[str, int, Labelling], Labels]:
    shelf = LabelShelf(options.out / "labels", material, _sources(options.data))
    found = {}
    for (form, count), labellings in tqdm(needed(every).items(), desc="labels", leave=False):
        for one, labels in shelf.labels(form, count, labellings).items():
            found[form, count, one] = labels
    return found


def _sources(folder: Path) -> str:
    """A digest of the annotator's maps, by name and content."""
    state = hashlib.sha256()
    for split in ("labeled", "unlabeled"):
        for name in read_ids(folder, split):
            path = folder / "probs" / f"{name}.npz"
            state.update(name.encode())
            state.update(path.read_bytes() if path.is_file() else b"")
    return state.hexdigest()


def _show(out: Path) -> int:
    path = out / "results.csv"
    if not path.is_file():
        print(f"study: no results at {path} yet; run the study first", file=sys.stderr)
        return 1
    lines = read_csv(path)
    atomic_write_text(out / "study.svg", figure(lines))
    sets = label_sets(lines)
    atomic_write_text(out / "study_labels.svg", scatter(sets))
    figures = f"Figures: {out / 'study.svg'}, {out / 'study_labels.svg'}"
    parts = [tables(lines), lesson(sets), figures]
    print("\n\n".join(part for part in parts if part))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "study.py",
        __doc__,
        EXAMPLES,
        data=", as voc-animals",
        seeds=", but for the rows of rest, which get one (default: %(default)s)",
        steps=f" (default: {RECIPE.steps})",
        out="results, label maps",
    )
    parser.set_defaults(seeds=3)
    parser.add_argument(
        "--only",
        choices=(*GROUPS, "labels"),
        help="train one group of rows; labels: measure the labels and train nothing",
    )
    parser.add_argument(
        "--minutes", type=float, metavar="M", help="begin no training after M minutes"
    )
    parser.add_argument(
        "--table", action="store_true", help="print tables and draw the figures of what is done"
    )
    return parser


def _check(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    if not options.table:
        if options.data is None:
            parser.error("--data DIR is needed: a folder laid out as voc-animals")
        check_data(options.data, parser)
    check_counts(options, parser, limit=4)
    if options.minutes is not None and not options.minutes > 0:
        parser.error(f"--minutes must be above 0, got {options.minutes:g}")


if __name__ == "__main__":
    sys.exit(main())
