"""Which default holds on several beds: students of every way to label, by bed, size and scores."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from degraded import over_called, over_object, sharpened
from material import IGNORE, Material
from quick_student import Points, confusion_of, read_points, taught, thinned, train_quick
from run_options import exit_code
from score_forms import seem_like
from training import mean_iou
from voc_like import read_material

from conformal_plugin import calibrate, calibrate_class_conditional, choose, filter
from conformal_plugin._atomic import atomic_write_text
from conformal_plugin.errors import UninformativeThresholdError

__all__ = ["BEDS", "ROWS", "Bed", "main"]

EXAMPLES = """\
example:
  python examples/beds.py --data ../shared/data --seeds 3
      students of every row on voc-animals, polyps-kvasir and driving-camvid
  python examples/beds.py --data ../shared/data --table test
      the table of what is done so far, on the test photos

Killed or stopped, the same command goes on, and loses at most the student in training.
"""

Bytes = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.floating]
Label = Callable[[Scores], Bytes]

FOLDS = 5
CHOOSING = 2 / 7
"""Part of the unlabelled photos, the last of the list, that measures students for choosing."""


@dataclass(frozen=True)
class Bed:
    """A folder laid out as voc-animals, sizes of its labelled set and forms of scores."""

    folder: str
    sizes: tuple[int, ...]
    forms: tuple[str, ...]
    background: int | None


BEDS = {
    "voc": Bed("voc-animals", (92, 46, 24), ("as is", "seem-like", "over-object", "sharpened"), 0),
    "polyps": Bed("polyps-kvasir", (80, 24, 12), ("as is", "seem-like", "over-object"), 0),
    "driving": Bed("driving-camvid", (60, 24, 12), ("as is", "sharpened", "over-called"), None),
}
FORMS: dict[str, Callable[[Scores], Scores]] = {
    "as is": lambda scores: np.asarray(scores, np.float32),
    "seem-like": seem_like,
    "over-object": lambda scores: over_object(scores, ""),
    "over-called": lambda scores: over_called(scores, ""),
    "sharpened": lambda scores: sharpened(scores, ""),
}
ROWS = (
    *("labels only", "raw", "fixed .95", "paper", "default"),
    *("per class .02 singleton", "per class .05 singleton", "per class .1 singleton"),
    *("per class .05 most-probable", "per class .2 most-probable"),
    *("foreground-first .2", "most-probable .2", "true masks"),
)


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

    @property
    def name(self) -> str:
        return f"{self.bed}-{self.size}-{self.form.replace(' ', '-')}"


def main(argv: Sequence[str] | None = None) -> int:
    """Train what is missing, or print the table; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="beds.py",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="holds the beds")
    parser.add_argument("--out", type=Path, default=Path("runs/beds"), metavar="DIR")
    parser.add_argument("--beds", nargs="+", choices=tuple(BEDS), default=list(BEDS))
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="students per row")
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="is the annotator worth using? Students of the default's labels and of labels alone, "
        "on labelled photos that they were not trained on",
    )
    parser.add_argument(
        "--table", choices=("choosing", "test"), help="print the students' mIoU on these photos"
    )
    options = parser.parse_args(argv)
    torch.set_num_threads(1)  # networks this small are trained fastest one to a core
    run = _rehearse if options.rehearse else _show if options.table else _run
    return exit_code("beds", lambda: run(options))


def _cells(beds: Iterable[str]) -> Iterator[_Cell]:
    """The smallest labelled sets first, where students differ most."""
    for level in (2, 0, 1):
        for bed in beds:
            for form in BEDS[bed].forms:
                yield _Cell(bed, BEDS[bed].sizes[level], form)


def _run(options: argparse.Namespace) -> int:
    read: dict[str, _Data] = {}
    for cell in _cells(options.beds):
        bed = BEDS[cell.bed]
        if cell.bed not in read:
            read[cell.bed] = _read(options.data / bed.folder, options.out / f"{cell.bed}.pt")
        for row in options.rows:
            _train_row(options, cell, row, read[cell.bed])
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


def _train_row(options: argparse.Namespace, cell: _Cell, row: str, data: _Data) -> None:
    """Train the students of a row that are not there; equal label maps are one student."""
    note = options.out / "labels" / f"{cell.name}-{row.replace(' ', '-')}.json"
    maps: list[Bytes] | None = None
    if not note.is_file():
        maps, way = _labels(cell, row, data)
        digest = "nothing" if maps is None else _digest(maps)
        atomic_write_text(note, json.dumps({"digest": digest, "way": way}))
    digest = json.loads(note.read_text(encoding="utf-8"))["digest"]
    labelled, count = data.points["labelled"], len(data.material.classes)
    mine = Points(labelled.features[: cell.size], labelled.truth[: cell.size])
    for seed in range(options.seeds):
        path = options.out / "students" / f"{cell.bed}-{cell.size}-{digest}-{seed}.json"
        if path.is_file():
            continue
        if maps is None and digest != "nothing":
            maps, _ = _labels(cell, row, data)
        teacher = None if maps is None else taught(maps)
        student = train_quick(count, mine, data.points["unlabelled"], teacher, seed=seed)
        found = {
            part: mean_iou(confusion_of(student, data.points[part], count), data.material.core)
            for part in ("choosing", "test")
        }
        atomic_write_text(path, json.dumps(found))


def _labels(cell: _Cell, row: str, data: _Data) -> tuple[list[Bytes] | None, str]:
    """Label maps of the unlabelled points, None where there are none, and how they were made."""
    if row in ("labels only", "true masks"):
        return (None if row == "labels only" else list(data.points["unlabelled"].truth)), row
    label, way = _way(cell, row, data)
    if label is None:
        return None, way
    form = FORMS[cell.form]
    try:
        maps = [label(form(scores)) for scores in data.thin["unlabelled"]]
    except UninformativeThresholdError as error:
        return None, f"refused: {error}"
    kept = any((one != IGNORE).any() for one in maps)
    return (maps if kept else None), way


def _way(cell: _Cell, row: str, data: _Data) -> tuple[Label | None, str]:
    """How scores become labels, and that in words; no way where the library refuses."""
    if row == "raw":
        return _argmax, row
    if row == "fixed .95":
        return lambda s: np.where(s.max(0) >= 0.95, _argmax(s), np.uint8(IGNORE)), row
    form, background = FORMS[cell.form], BEDS[cell.bed].background
    if row == "default":
        scores, truth = (part[: cell.size] for part in data.coarse)
        choice = choose([form(one) for one in scores], truth, background=background)
        if not choice.worth_using:
            return None, choice.verdict
        if choice.calibration is None:
            return _argmax, choice.proposed.name
        calibration = choice.calibration
        return lambda s: filter(s, calibration), choice.proposed.name
    given = [form(one) for one in data.thin["labelled"][: cell.size]]
    masks = data.points["labelled"].truth[: cell.size]
    level, rule = (0.05, "foreground-first") if row == "paper" else _level_and_rule(row)
    if row.startswith("per class"):
        found = calibrate_class_conditional(given, masks, level, min_images=5)
    else:
        found = calibrate(given, masks, level)
    if not found.informative:
        return None, f"refused: q-hat {found.qhat}"
    return lambda s: filter(s, found.qhat, rule=rule, background=background or 0), row


def _level_and_rule(row: str) -> tuple[float, str]:
    parts = row.split()
    if row.startswith("per class"):
        return float(parts[2]), parts[3]
    return float(parts[1]), parts[0]


def _argmax(scores: Scores) -> Bytes:
    return scores.argmax(axis=0).astype(np.uint8)


def _digest(maps: Sequence[Bytes]) -> str:
    state = hashlib.sha256()
    for one in maps:
        state.update(np.ascontiguousarray(one).data)
    return state.hexdigest()[:14]


def _rehearse(options: argparse.Namespace) -> int:
    """Print what the default's labels gain on labelled photos, each left out of its training.

    Five trainings with the labels of the unlabelled photos and five without, each on four fifths of
    the labelled photos, measured on the other fifth.
    """
    read: dict[str, _Data] = {}
    for cell in _cells(options.beds):
        path = options.out / "rehearsals" / f"{cell.name}.json"
        if not path.is_file():
            if cell.bed not in read:
                folder = options.data / BEDS[cell.bed].folder
                read[cell.bed] = _read(folder, options.out / f"{cell.bed}.pt")
            maps, _ = _labels(cell, "default", read[cell.bed])
            counts = [_left_out(cell, read[cell.bed], some) for some in (maps, None)]
            gain, error = _gain(*counts, read[cell.bed].material.core)
            atomic_write_text(path, json.dumps({"gain": gain, "error": error}))
        found = json.loads(path.read_text(encoding="utf-8"))
        print(f"{cell.name}: {100 * found['gain']:+.1f} ± {100 * found['error']:.1f}", flush=True)
    return 0


def _left_out(cell: _Cell, data: _Data, maps: list[Bytes] | None) -> npt.NDArray[np.int64]:
    """Confusions ``(photos, K, K)`` of labelled photos, each by a student that has not seen it."""
    labelled, count = data.points["labelled"], len(data.material.classes)
    teacher = None if maps is None else taught(maps)
    found = np.zeros((cell.size, count, count), np.int64)
    for fold in range(FOLDS):
        mine = [i for i in range(cell.size) if i % FOLDS != fold]
        seen = Points(*([part[i] for i in mine] for part in (labelled.features, labelled.truth)))
        student = train_quick(count, seen, data.points["unlabelled"], teacher, seed=0)
        for i in range(fold, cell.size, FOLDS):
            one = Points(labelled.features[i : i + 1], labelled.truth[i : i + 1])
            found[i] = confusion_of(student, one, count)
    return found


def _gain(
    taught: npt.NDArray[np.int64], alone: npt.NDArray[np.int64], core: Sequence[int]
) -> tuple[float, float]:
    """The difference in mIoU and its standard error, a jackknife over photos."""

    def difference(kept: npt.NDArray[np.bool_]) -> float:
        return mean_iou(taught[kept].sum(0), core) - mean_iou(alone[kept].sum(0), core)

    photos = np.arange(len(taught))
    without = np.array([difference(photos != i) for i in photos])
    spread = ((without - without.mean()) ** 2).sum()
    error = float(np.sqrt((len(photos) - 1) / len(photos) * spread))
    return difference(photos >= 0), error


def _show(options: argparse.Namespace) -> int:
    print(f"| bed, labelled, scores | {' | '.join(options.rows)} |")
    print(f"|{' --- |' * (len(options.rows) + 1)}")
    for cell in _cells(options.beds):
        found = (_mean(options, cell, row) for row in options.rows)
        print(f"| {cell.bed} {cell.size}, {cell.form} | {' | '.join(found)} |")
    return 0


def _mean(options: argparse.Namespace, cell: _Cell, row: str) -> str:
    note = options.out / "labels" / f"{cell.name}-{row.replace(' ', '-')}.json"
    if not note.is_file():
        return ""
    made: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
    values = []
    for seed in range(options.seeds):
        path = options.out / "students" / f"{cell.bed}-{cell.size}-{made['digest']}-{seed}.json"
        if path.is_file():
            values.append(100 * json.loads(path.read_text(encoding="utf-8"))[options.table])
    refused = " (refused)" if made["way"].startswith("refused") else ""
    return f"{np.mean(values):.1f}{refused}" if values else ""


if __name__ == "__main__":
    sys.exit(main())
