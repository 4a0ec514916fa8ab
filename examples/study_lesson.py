"""What of the labels goes with a good student: the study's label sets, each with its students."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import pearsonr, spearmanr
from study_report import Line
from study_rows import ANY

__all__ = ["MEASURES", "LabelSet", "label_sets", "lesson"]

MEASURES = {
    "precision": "precision",
    "kept": "kept",
    "label_core_miou": "label core mIoU",
    "objects_right": "objects' pixels labelled right",
    "objects_wrong": "objects' pixels labelled wrong",
    "background_wrong": "background called an object",
    "objects_net": "objects' pixels, right minus wrong",
}
"""What is measured of a label set, and what it is called."""

_EXPLAINING = ("objects_right", "objects_wrong", "background_wrong")
_FEWEST = 8
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LabelSet:
    """Label maps of the unlabelled photos, and the mean of their students.

    Attributes:
        labelling: where they come from, a kind of ``study_labels.Labelling``.
        measures: by the names of ``MEASURES``, shares.
        student: core mIoU, the mean over the seeds that are done.
    """

    labelling: str
    measures: Mapping[str, float]
    student: float


def label_sets(lines: Sequence[Line]) -> list[LabelSet]:
    """The label sets made with all labelled photos, their students without stage II.

    Rows with the same label maps are one set.
    """
    most = max((int(line["labelled"]) for line in lines), default=0)
    rows: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        labels = line["form"] != ANY and float(line["kept"] or 0) > 0
        if labels and line["stage2"] == "no" and int(line["labelled"]) == most:
            row = tuple(line[name] for name in ("form", "labelling", "alpha_or_epsilon", "rule"))
            rows.setdefault(row, []).append(line)
    # Rows with the same label maps share their trainings, and so the digest of the first.
    sets: dict[str, list[Line]] = {}
    for seeds in rows.values():
        sets.setdefault(seeds[0]["digest"], seeds)
    return [_label_set(seeds) for seeds in sets.values() if seeds[0]["student_core_miou"]]


def _label_set(seeds: Sequence[Line]) -> LabelSet:
    done = [float(text) for line in seeds if (text := line["student_core_miou"])]
    measures = {name: float(seeds[0][name]) for name in MEASURES if name != "objects_net"}
    measures["objects_net"] = measures["objects_right"] - measures["objects_wrong"]
    return LabelSet(seeds[0]["labelling"], measures, statistics.fmean(done))


def lesson(sets: Sequence[LabelSet]) -> str:
    """Markdown: how each measure goes with the students; empty of fewer than eight sets."""
    if len(sets) < _FEWEST:
        return ""
    students = np.array([one.student for one in sets])
    columns = {name: np.array([one.measures[name] for one in sets]) for name in MEASURES}
    text = [
        f"### What of the labels goes with the student: {len(sets)} label sets",
        "",
        "| measure of the labels | correlation of ranks | correlation |",
        "| --- | --- | --- |",
    ]
    for name, title in MEASURES.items():
        ranks, plain = (measure(columns[name], students)[0] for measure in (spearmanr, pearsonr))
        text.append(f"| {title} | {ranks:.2f} | {plain:.2f} |")
    return "\n".join([*text, "", _fit(columns, students)])


def _fit(columns: Mapping[str, Values], students: Values) -> str:
    """Least squares in words."""
    matrix = np.column_stack([np.ones(len(students)), *(columns[name] for name in _EXPLAINING)])
    weights = np.linalg.lstsq(matrix, students, rcond=None)[0]
    left = students - matrix @ weights
    explained = 1 - float(left @ left) / float(((students - students.mean()) ** 2).sum())
    terms = "".join(
        f" {'+' if weight > 0 else '-'} {abs(weight):.2f} x {MEASURES[name]}"
        for weight, name in zip(weights[1:], _EXPLAINING)
    )
    return (
        f"Least squares: core mIoU of the student = {weights[0]:.3f}{terms}, "
        f"R2 {explained:.2f}, all as shares."
    )
