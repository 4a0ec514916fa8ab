"""What of the labels goes with a good student: the study's label sets, each with its students."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import pearsonr, spearmanr
from study_report import Line
from study_rows import ANY

__all__ = ["MEASURES", "lesson"]

MEASURES = {
    "precision": "precision",
    "kept": "kept",
    "label_core_miou": "label core mIoU",
    "objects_right": "objects' pixels labelled right",
    "objects_wrong": "objects' pixels labelled wrong",
    "background_wrong": "background called an object",
}
"""Columns of the results, and what they are called."""

_EXPLAINING = ("objects_right", "objects_wrong", "background_wrong")
_FEWEST = 8
Values = npt.NDArray[np.float64]


def lesson(lines: Sequence[Line]) -> str:
    """Markdown: how each measure of the labels goes with the core mIoU of their students.

    Over the label sets made with all labelled photos, each with the mean of its students without
    stage II. Rows with the same label maps count once. Empty where there are fewer than eight.
    """
    sets = _label_sets(lines)
    if len(sets) < _FEWEST:
        return ""
    students = np.array([student for _, student in sets])
    columns = {name: np.array([float(line[name]) for line, _ in sets]) for name in MEASURES}
    measured = {MEASURES[name]: values for name, values in columns.items()}
    net = columns["objects_right"] - columns["objects_wrong"]
    measured["objects' pixels right minus wrong"] = net
    text = [
        f"### What of the labels goes with the student: {len(sets)} label sets",
        "",
        "| measure of the labels | correlation of ranks | correlation |",
        "| --- | --- | --- |",
    ]
    for title, values in measured.items():
        ranks, plain = spearmanr(values, students)[0], pearsonr(values, students)[0]
        text.append(f"| {title} | {ranks:.2f} | {plain:.2f} |")
    return "\n".join([*text, "", _fit([columns[name] for name in _EXPLAINING], students)])


def _label_sets(lines: Sequence[Line]) -> list[tuple[Line, float]]:
    """A line of each label set, and the mean of its students that are done."""
    most = max((int(line["labelled"]) for line in lines), default=0)
    rows: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        labels = line["form"] != ANY and float(line["kept"] or 0) > 0
        if labels and line["stage2"] == "no" and int(line["labelled"]) == most:
            row = tuple(line[name] for name in ("form", "labelling", "alpha_or_epsilon", "rule"))
            rows.setdefault(row, []).append(line)
    # Rows with the same label maps share their trainings, and so the digest of the first.
    sets = {seeds[0]["digest"]: seeds for seeds in reversed(list(rows.values()))}
    found = []
    for seeds in reversed(list(sets.values())):
        done = [float(text) for line in seeds if (text := line["student_core_miou"])]
        if done:
            found.append((seeds[0], statistics.fmean(done)))
    return found


def _fit(columns: Sequence[Values], students: Values) -> str:
    """Least squares in words."""
    matrix = np.column_stack([np.ones(len(students)), *columns])
    weights = np.linalg.lstsq(matrix, students, rcond=None)[0]
    left = students - matrix @ weights
    explained = 1 - float(left @ left) / float(((students - students.mean()) ** 2).sum())
    names = [MEASURES[name] for name in _EXPLAINING]
    terms = "".join(
        f" {'+' if weight > 0 else '-'} {abs(weight):.2f} x {name}"
        for weight, name in zip(weights[1:], names)
    )
    return (
        f"Least squares: core mIoU of the student = {weights[0]:.3f}{terms}, "
        f"R2 {explained:.2f}, all as shares."
    )
