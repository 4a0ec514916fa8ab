"""Which default holds on several beds: students of every way to label, by bed, size and scores."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from bed_table import Row, print_table
from candidates import CANDIDATES
from known import Known, most_probable
from material import IGNORE, Material
from named_forms import NAMED_FORMS
from quick_student import Points, confusion_of, read_points, thinned
from rehearsal import encoded, of_default
from run_options import exit_code
from torch import nn
from training import mean_iou
from voc_like import read_ids, read_material

from conformal_plugin import calibrate, calibrate_class_conditional, filter
from conformal_plugin._atomic import atomic_write_text
from conformal_plugin.choosing import MIN_IMAGES
from conformal_plugin.errors import UninformativeThresholdError

__all__ = ["BEDS", "ROWS", "Bed", "main"]

EXAMPLES = """\
example:
  python examples/beds.py --data ../shared/data
      three students of every row on voc-animals, polyps-kvasir and driving-camvid
  python examples/beds.py --data ../shared/data --table test
      the table of what is done so far, on the test photos
  python examples/beds.py --beds runs/facades --no-background --rows "labels only" raw default
      a bed of your own, a folder laid out as voc-animals

Killed or stopped, the same command goes on, and loses at most the student in training.
"""

Bytes = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.floating]
Label = Callable[[Scores], Bytes]

CHOOSING = 2 / 7
"""Part of the unlabelled photos, the last of the list, that measures students for choosing."""


@dataclass(frozen=True)
class Bed:
    """A folder laid out as voc-animals, sizes of its labelled set and forms of scores."""

    folder: Path
    sizes: tuple[int, ...]
    forms: tuple[str, ...]
    background: int | None


BEDS = {
    "voc": Bed(
        Path("voc-animals"), (92, 46, 24), ("as is", "seem-like", "over-object", "sharpened"), 0
    ),
    "polyps": Bed(Path("polyps-kvasir"), (80, 24, 12), ("as is", "seem-like", "over-object"), 0),
    "driving": Bed(
        Path("driving-camvid"), (60, 24, 12), ("as is", "sharpened", "over-called"), None
    ),
}
ROWS = (
    *("labels only", "raw", "fixed .95", "paper", "default"),
    *("per class .02 singleton", "per class .05 singleton", "per class .1 singleton"),
    *("per class .05 most-probable", "per class .2 most-probable"),
    *("foreground-first .2", "most-probable .2", "true masks"),
)


REHEARSED = {"rehearsed": "default", "rehearsed weights": "label weights"}
"""Rows of a table: another row where a rehearsal speaks for the labels, else labels only."""

FOUR = ("labels only", "raw", "fixed .95", "paper")
"""What is at hand without this library's choice."""


@dataclass(frozen=True)
class _Data:
    """What is in memory of a bed: forms of scores are made of them pixel by pixel.

    Attributes:
        material: photos, truth and names.
        points: of the labelled, the unlabelled, the choosing and the test photos.
        thin: the annotator's scores at the points, of the labelled and the unlabelled photos.
        coarse: those of the labelled photos and their truth at every fourth row and column.
    """

    material: Material
    points: dict[str, Points]
    thin: dict[str, list[Scores]]
    coarse: tuple[list[Scores], list[Bytes]]


@dataclass(frozen=True)
class _Cell:
    """One bed, size of the labelled set and form of scores."""

    bed: str
    size: int
    form: str
    background: int | None

    @property
    def name(self) -> str:
        return f"{self.bed}-{self.size}-{self.form.replace(' ', '-')}"

    def known(self, data: _Data) -> Known:
        """What its students may learn from."""
        form, labelled = NAMED_FORMS[self.form], data.points["labelled"]
        scores, truth = (part[: self.size] for part in data.coarse)
        return Known(
            classes=len(data.material.classes),
            background=self.background,
            labelled=Points(labelled.features[: self.size], labelled.truth[: self.size]),
            scores=[form(one, "") for one in data.thin["labelled"][: self.size]],
            coarse=([form(one, "") for one in scores], truth),
            unlabelled=data.points["unlabelled"],
            others=[form(one, "") for one in data.thin["unlabelled"]],
            core=data.material.core,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Train what is missing, or print the table; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="beds.py",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, default=Path(), metavar="DIR", help="holds the beds")
    parser.add_argument("--out", type=Path, default=Path("runs/beds"), metavar="DIR")
    parser.add_argument(
        "--beds",
        nargs="+",
        default=list(BEDS),
        metavar="BED",
        help=f"of {', '.join(BEDS)}, or folders laid out as voc-animals",
    )
    parser.add_argument(
        "--no-background", action="store_true", help="class 0 of the folders is a class like others"
    )
    parser.add_argument(
        "--rows", nargs="+", choices=(*ROWS, *CANDIDATES, *REHEARSED), default=list(ROWS)
    )
    parser.add_argument(
        "--cells", nargs="+", default=[], metavar="CELL", help="of these alone, voc-24-as-is say"
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="students per row")
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="are the default's labels worth using? conformal_plugin.rehearsing on the photos that "
        "students train on",
    )
    parser.add_argument(
        "--table", choices=("choosing", "test"), help="print the students' mIoU on these photos"
    )
    options = parser.parse_args(argv)
    torch.set_num_threads(1)  # networks this small are trained fastest one to a core
    run = _rehearse if options.rehearse else _show if options.table else _run
    return exit_code("beds", lambda: run(options))


def _beds(options: argparse.Namespace) -> dict[str, Bed]:
    """Those asked for, by name; a folder has that of its last part."""
    found = {}
    for name in options.beds:
        if name in BEDS:
            bed = BEDS[name]
            found[name] = Bed(options.data / bed.folder, bed.sizes, bed.forms, bed.background)
        else:
            alike = BEDS["driving" if options.no_background else "polyps"]
            sizes = (len(read_ids(Path(name), "labeled")), *alike.sizes[1:])
            found[Path(name).name] = Bed(Path(name), sizes, alike.forms, alike.background)
    return found


def _cells(beds: dict[str, Bed], names: Sequence[str]) -> Iterator[_Cell]:
    """The smallest labelled sets first, where students differ most; those named, where any is."""
    for level in (2, 0, 1):
        for name, bed in beds.items():
            for form in bed.forms:
                cell = _Cell(name, bed.sizes[level], form, bed.background)
                if not names or cell.name in names:
                    yield cell


def _run(options: argparse.Namespace) -> int:
    beds, read = _beds(options), {}
    for cell in _cells(beds, options.cells):
        if cell.bed not in read:
            read[cell.bed] = _read(beds[cell.bed].folder, options.out / f"{cell.bed}.pt")
        data = read[cell.bed]
        known = cell.known(data)
        for row in options.rows:
            if row in REHEARSED:  # others, and what --rehearse leaves
                continue
            if row in CANDIDATES:
                _train_candidate(options, cell, row, known, data)
            else:
                _train_row(options, cell, row, known, data)
        print(cell.name, flush=True)
    return 0


def _read(folder: Path, cache: Path) -> _Data:
    material = read_material(folder, ("normalised",))
    cut = _cut(len(material.unlabelled))
    photos = {
        "labelled": material.labelled.photos,
        "unlabelled": material.unlabelled.photos[:cut],
        "choosing": material.unlabelled.photos[cut:],
        "test": material.test.photos,
    }
    truth = {
        "labelled": material.labelled.truth,
        "unlabelled": material.unlabelled.truth[:cut],
        "choosing": material.unlabelled.truth[cut:],
        "test": material.test.truth,
    }
    annotation = material.annotations["normalised"]
    labelled = list(annotation.labelled)
    thin = {
        "labelled": [thinned(scores) for scores in labelled],
        "unlabelled": [thinned(s) for _, s in zip(range(cut), annotation.unlabelled)],
    }
    coarse = [s[:, ::4, ::4] for s in labelled], [t[::4, ::4] for t in truth["labelled"]]
    return _Data(material, read_points(photos, truth, cache, "unlabelled"), thin, coarse)


def _cut(photos: int) -> int:
    return round(photos * (1 - CHOOSING))


def _train_candidate(
    options: argparse.Namespace, cell: _Cell, row: str, known: Known, data: _Data
) -> None:
    for seed in range(options.seeds):
        path = _candidate_file(options, cell, row, seed)
        if not path.is_file():
            _measure(CANDIDATES[row](known, seed), data, path)


def _train_row(
    options: argparse.Namespace, cell: _Cell, row: str, known: Known, data: _Data
) -> None:
    """Train the students of a row that are not there; equal label maps are one student."""
    note = _note_file(options, cell, row)
    maps: list[Bytes] | None = None
    if not note.is_file():
        maps, way = _labels(known, row)
        digest = "nothing" if maps is None else _digest(maps)
        atomic_write_text(note, json.dumps({"digest": digest, "way": way}))
    digest = json.loads(note.read_text(encoding="utf-8"))["digest"]
    for seed in range(options.seeds):
        path = _student_file(options, cell, digest, seed)
        if path.is_file():
            continue
        if maps is None and digest != "nothing":
            maps, _ = _labels(known, row)
        _measure(known.train_labels(maps, seed), data, path)


def _measure(student: nn.Module, data: _Data, path: Path) -> None:
    count = len(data.material.classes)
    found = {
        part: mean_iou(confusion_of(student, data.points[part], count), data.material.core)
        for part in ("choosing", "test")
    }
    atomic_write_text(path, json.dumps(found))


def _note_file(options: argparse.Namespace, cell: _Cell, row: str) -> Path:
    return Path(options.out, "labels", f"{cell.name}-{row.replace(' ', '-')}.json")


def _student_file(options: argparse.Namespace, cell: _Cell, digest: str, seed: int) -> Path:
    return Path(options.out, "students", f"{cell.bed}-{cell.size}-{digest}-{seed}.json")


def _candidate_file(options: argparse.Namespace, cell: _Cell, row: str, seed: int) -> Path:
    return Path(options.out, "candidates", f"{cell.name}-{row.replace(' ', '-')}-{seed}.json")


def _labels(known: Known, row: str) -> tuple[list[Bytes] | None, str]:
    """Label maps of the unlabelled points, None where there are none, and how they were made."""
    if row in ("labels only", "true masks"):
        return (None if row == "labels only" else list(known.unlabelled.truth)), row
    if row == "default":
        choice = known.choice
        return known.default, choice.proposed.name if choice.worth_using else choice.verdict
    label, way = _way(known, row)
    if label is None:
        return None, way
    try:
        maps = [label(scores) for scores in known.others]
    except UninformativeThresholdError as error:
        return None, f"refused: {error}"
    kept = any((one != IGNORE).any() for one in maps)
    return (maps if kept else None), way


def _way(known: Known, row: str) -> tuple[Label | None, str]:
    """How scores become labels, and that in words; no way where the library refuses."""
    if row == "raw":
        return most_probable, row
    if row == "fixed .95":
        return lambda s: most_probable(s, 0.95), row
    level, rule = (0.05, "foreground-first") if row == "paper" else _level_and_rule(row)
    if row.startswith("per class"):
        found = calibrate_class_conditional(
            known.scores, known.labelled.truth, level, min_images=MIN_IMAGES
        )
    else:
        found = calibrate(known.scores, known.labelled.truth, level)
    if not found.informative:
        return None, f"refused: q-hat {found.qhat}"
    return lambda s: filter(s, found.qhat, rule=rule, background=known.background or 0), row


def _level_and_rule(row: str) -> tuple[float, str]:
    parts = row.split()
    if row.startswith("per class"):
        return float(parts[2]), parts[3]
    return float(parts[1]), parts[0]


def _digest(maps: Sequence[Bytes]) -> str:
    state = hashlib.sha256()
    for one in maps:
        state.update(np.ascontiguousarray(one).data)
    return state.hexdigest()[:14]


def _rehearse(options: argparse.Namespace) -> int:
    """Rehearse the default's labels in every cell, and print what they gain."""
    beds, read = _beds(options), {}
    for cell in _cells(beds, options.cells):
        path = _rehearsal_file(options, cell)
        if not path.is_file():
            if cell.bed not in read:
                data = _read(beds[cell.bed].folder, options.out / f"{cell.bed}.pt")
                read[cell.bed] = data, encoded(data.material, len(data.thin["unlabelled"]))
            data, features = read[cell.bed]
            made = of_default(cell.known(data), *features)
            atomic_write_text(path, "null" if made is None else made.to_json())
        found = json.loads(path.read_text(encoding="utf-8"))
        told = "refused" if found is None else found["verdict"]
        print(f"{cell.name}: {told}", flush=True)
    return 0


def _rehearsal_file(options: argparse.Namespace, cell: _Cell) -> Path:
    return Path(options.out, "rehearsals", f"{cell.name}.json")


def _show(options: argparse.Namespace) -> int:
    beds = _beds(options)
    cells = sorted(
        _cells(beds, options.cells), key=lambda cell: (list(beds).index(cell.bed), -cell.size)
    )
    rows = [Row(name, [_found(options, cell, name) for cell in cells]) for name in options.rows]
    print_table([f"{c.bed} {c.size}, {c.form}" for c in cells], rows, FOUR)
    return 0


def _found(options: argparse.Namespace, cell: _Cell, row: str) -> tuple[list[float], bool]:
    """The students' mIoU in percent, and whether the way refused to label."""
    if row in REHEARSED:
        path = _rehearsal_file(options, cell)
        if not path.is_file():
            return [], False
        rehearsal = json.loads(path.read_text(encoding="utf-8"))
        gained = rehearsal is not None and rehearsal["worth_using"]
        return _found(options, cell, REHEARSED[row] if gained else "labels only")
    if row in CANDIDATES:
        paths, refused = (
            [_candidate_file(options, cell, row, s) for s in range(options.seeds)],
            False,
        )
    else:
        note = _note_file(options, cell, row)
        if not note.is_file():
            return [], False
        made = json.loads(note.read_text(encoding="utf-8"))
        paths = [_student_file(options, cell, made["digest"], s) for s in range(options.seeds)]
        refused = made["way"].startswith("refused")
    notes = [json.loads(p.read_text(encoding="utf-8")) for p in paths if p.is_file()]
    return [100 * found[options.table] for found in notes], refused


if __name__ == "__main__":
    sys.exit(main())
