"""The results of the study as CSV, as Markdown tables and as a figure."""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from study_labels import Labelling, LabelQuality, Labels
from study_rows import ANY, TRUTH, Row
from trainings import Store

from conformal_plugin._atomic import atomic_write_text

__all__ = [
    "COLUMNS",
    "Line",
    "Summary",
    "lines_of",
    "read_csv",
    "spread",
    "summaries",
    "tables",
    "write_csv",
]

COLUMNS = (
    "group",
    "form",
    "labelled",
    "labelling",
    "rule",
    "alpha_or_epsilon",
    "stage2",
    "seed",
    "kept",
    "precision",
    "label_core_miou",
    "label_miou",
    "objects_right",
    "objects_wrong",
    "background_wrong",
    "student_core_miou",
    "student_miou",
    "seconds",
    "digest",
    "note",
)

Line = dict[str, str]


def lines_of(
    rows: Sequence[Row],
    labels: Mapping[tuple[str, int, Labelling], Labels],
    digests: Mapping[Row, str],
    store: Store,
) -> list[Line]:
    """The lines of the CSV; what is not known yet is empty.

    ``kept`` to ``background_wrong`` are those of the labels that stage I learns from.
    """
    return [
        _line(row, labels.get((row.form, row.labelled, row.labelling)), digests[row], store)
        for row in rows
    ]


def _line(row: Row, labels: Labels | None, digest: str, store: Store) -> Line:
    result = store.read(digest) or {}
    level, rule, note = row.labelling.level, row.labelling.rule, ""
    quality: dict[str, float] = {}
    if row.labelling == TRUTH:
        quality = vars(LabelQuality(1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0))
    if labels is not None:
        level, rule, note = labels.level, labels.rule, labels.note
        quality = {"kept": 0.0} if labels.quality is None else vars(labels.quality)
    if "own_labels" in result:
        own = result["own_labels"]
        note += (
            f"{' ' if note else ''}The student's own labels as stage II begins: precision "
            f"{own['precision']:.4f}, core mIoU {own['core_miou']:.4f}."
        )
    return {
        "group": row.group,
        "form": row.form,
        "labelled": str(row.labelled),
        "labelling": row.labelling.kind,
        "rule": rule or "",
        "alpha_or_epsilon": "" if level is None else f"{level:g}",
        "stage2": "yes" if row.stage2 else "no",
        "seed": str(row.seed),
        "kept": _number(quality.get("kept")),
        "precision": _number(quality.get("precision")),
        "label_core_miou": _number(quality.get("core_miou")),
        "label_miou": _number(quality.get("miou")),
        **{
            name: _number(quality.get(name))
            for name in ("objects_right", "objects_wrong", "background_wrong")
        },
        "student_core_miou": _number(result.get("core_miou")),
        "student_miou": _number(result.get("miou")),
        "seconds": str(result.get("seconds", "")),
        "digest": digest,
        "note": note,
    }


def _number(value: float | None) -> str:
    return "" if value is None or math.isnan(value) else f"{value:.4f}"


def write_csv(path: Path, lines: Sequence[Line]) -> None:
    """Write all lines at once or not at all."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    atomic_write_text(path, buffer.getvalue())


def read_csv(path: Path) -> list[Line]:
    """Read what :func:`write_csv` wrote."""
    with path.open(encoding="utf-8", newline="") as handle:
        return list(csv.DictReader(handle))


@dataclass(frozen=True)
class Summary:
    """The seeds of one way to label, in one form of scores."""

    title: str
    group: str
    line: Line  # of the first seed
    core: tuple[float, ...]  # the students' core mIoU, of the seeds that are done
    everything: tuple[float, ...]  # the same over all classes


def summaries(lines: Sequence[Line]) -> dict[tuple[str, str], list[Summary]]:
    """Lines by (form, labelled) and, in each, by labelling; those without scores in every form."""
    forms = dict.fromkeys((line["form"], line["labelled"]) for line in lines)
    found: dict[tuple[str, str], list[Summary]] = {}
    for form, labelled in forms:
        if form == ANY:
            continue
        seeds: dict[tuple[str, ...], list[Line]] = {}
        for line in lines:
            if line["form"] in (form, ANY) and line["labelled"] == labelled:
                key = [line[name] for name in ("labelling", "stage2")]
                # With 46 photos or 92, seed 0 or 1, what is proposed is one row.
                if line["labelling"] != "chosen":
                    key += [line["alpha_or_epsilon"], line["rule"]]
                seeds.setdefault(tuple(key), []).append(line)
        found[form, labelled] = [_summary(some) for some in seeds.values()]
    return found


def _summary(lines: Sequence[Line]) -> Summary:
    done = [line for line in lines if line["student_core_miou"]]
    return Summary(
        title=_title(lines[0]),
        group=lines[0]["group"],
        line=lines[0],
        core=tuple(float(line["student_core_miou"]) for line in done),
        everything=tuple(float(line["student_miou"]) for line in done),
    )


def _title(line: Line) -> str:
    kind, level, rule = line["labelling"], line["alpha_or_epsilon"], line["rule"]
    words: dict[str, str] = {
        "labels-only": "labels only",
        "true-masks": "true masks (ceiling)",
        "raw": "raw argmax",
        "fixed": f"argmax where its score is at least {level}",
        "chosen": f"chosen: {_proposal(line)}",
        "precision": f"precision, epsilon {level}, {rule}",
    }
    title = words.get(kind, f"{kind}, alpha {level}, {rule}")
    return f"{title}, stage II" if line["stage2"] == "yes" else title


def _proposal(line: Line) -> str:
    if not line["kept"] or float(line["kept"]) == 0:
        return "not worth using"
    level, rule = line["alpha_or_epsilon"], line["rule"]
    return f"alpha {level}, {rule}" if level else "raw argmax"


def tables(lines: Sequence[Line]) -> str:
    """Markdown: a table for each form and number of labelled photos, in percent."""
    parts = []
    for (form, labelled), some in summaries(lines).items():
        parts.append(f"### {form} scores, {labelled} labelled photos\n\n{_table(some)}")
        parts += [note for note in (_notes(some),) if note]
    return "\n\n".join(parts)


def _table(some: Sequence[Summary]) -> str:
    header = ("labels of the unlabelled photos", "kept", "precision", "label core mIoU")
    cells = [[*header, "student core mIoU", "all classes", "seeds"]]
    for one in some:
        cells.append(
            [
                one.title + _mark(one),
                *(_percent(one.line[name]) for name in ("kept", "precision", "label_core_miou")),
                spread(one.core),
                spread(one.everything),
                str(len(one.core)),
            ]
        )
    text = ["| " + " | ".join(row) + " |" for row in cells]
    text.insert(1, "|" + " --- |" * len(cells[0]))
    return "\n".join(text)


def _mark(one: Summary) -> str:
    return " (no labels: see below)" if one.line["kept"] == "0.0000" else ""


def _notes(some: Sequence[Summary]) -> str:
    """What the library says where there are no labels to train on."""
    return "\n".join(
        f"- {one.title}: {one.line['note']}" for one in some if one.line["kept"] == "0.0000"
    )


def _percent(text: str) -> str:
    return f"{100 * float(text):.1f}" if text else "-"


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation in percent; the mean alone of one value, a dash of none."""
    if not values:
        return "-"
    mean = f"{100 * statistics.fmean(values):.1f}"
    return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean
