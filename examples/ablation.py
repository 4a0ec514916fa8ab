"""The rows of the ablation table: the trainings they need, and the table of their results."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from label_sources import LabelSource, Quality
from material import Material
from training import Recipe
from trainings import Job, Store, digest_of, fingerprint

__all__ = ["ROWS", "Row", "plan", "summarise", "table"]

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Row:
    """One line of the table: where the labels of the unlabelled photos come from."""

    key: str
    title: str
    source: str | None  # key of a label source; None leaves the unlabelled photos out
    self_reliant: bool = False


ROWS = (
    Row("labels-only", "labels only", None),
    Row("raw", "+ raw annotator (argmax)", "raw"),
    Row("paper", "+ the paper's preset: alpha .05", "paper"),
    Row("calibrated", "+ calibrated", "calibrated"),
    Row("self-reliant", "+ calibrated, then self-reliance", "calibrated", True),
    Row("ceiling", "ceiling: true masks of the unlabelled", "truth"),
)


def plan(
    material: Material,
    recipe: Recipe,
    sources: Mapping[str, Mapping[str, LabelSource]],
    seeds: Sequence[int],
) -> tuple[list[Job], dict[tuple[str, str, int], str]]:
    """Return the trainings to do, and the digest of the result of (form, row, seed).

    A digest covers the data, the recipe, the seed and the label maps. Rows with the same label
    maps are the same training, which is then done once: two score forms share the rows that do
    not depend on scores, and a filter that changes nothing shares the row of the raw labels.
    """
    shared = [material.digest(), asdict(recipe), recipe.stage1]
    jobs: dict[str, Job] = {}
    digests: dict[tuple[str, str, int], str] = {}
    for form, by_name in sources.items():
        maps: dict[str | None, Sequence[Bytes] | None] = {
            None: None,
            "truth": material.unlabelled.truth,
        }
        maps.update({name: source.maps for name, source in by_name.items()})
        prints = {name: fingerprint(some) for name, some in maps.items()}
        given = {name: None if some is None else _giving(some) for name, some in maps.items()}
        for seed in seeds:
            for row in ROWS:
                parts = [*shared, prints[row.source], seed]
                digest = digest_of([*parts, row.self_reliant])
                digests[form, row.key, seed] = digest
                plain = digest_of([*parts, False])
                job = jobs.get(plain) or Job(seed, material.labelled, given[row.source], plain)
                jobs[plain] = replace(job, self_reliant=digest) if row.self_reliant else job
    return sorted(jobs.values(), key=_effort, reverse=True), digests


def _giving(maps: Sequence[Bytes]) -> Callable[[], Sequence[Bytes]]:
    return lambda: maps


def _effort(job: Job) -> float:
    """Relative length of a job; long ones go first, so that workers finish together."""
    return (0.5 if job.maps is None else 1.0) + (0.3 if job.self_reliant else 0.0)


def summarise(
    form: str,
    sources: Mapping[str, LabelSource],
    digests: Mapping[tuple[str, str, int], str],
    seeds: Sequence[int],
    store: Store,
) -> list[dict[str, Any]]:
    """One dict per row: the quality of its labels, and every seed's result on the test photos."""
    rows = []
    for row in ROWS:
        results = [store.read(digests[form, row.key, seed]) for seed in seeds]
        done = [result for result in results if result is not None]
        labels = None
        if row.self_reliant:
            own = [result["own_labels"] for result in done]
            labels = {name: statistics.fmean(q[name] for q in own) for name in own[0]}
        elif row.source == "truth":
            labels = asdict(Quality(1.0, 1.0, 1.0, 1.0))
        elif row.source is not None:
            labels = asdict(sources[row.source].quality)
        rows.append(
            {
                "row": row.key,
                "title": row.title,
                "labels": labels,
                "core_miou": [result["core_miou"] for result in done],
                "miou": [result["miou"] for result in done],
                "seconds": [result["seconds"] for result in done],
                "trainings": [digests[form, row.key, seed] for seed in seeds],
            }
        )
    return rows


def table(rows: Sequence[Mapping[str, Any]], core_differs: bool) -> str:
    """The ablation as a Markdown table; percentages, mean ± standard deviation over seeds."""
    columns = ["unlabelled photos are labelled by", "kept", "precision"]
    columns += ["label mIoU (core / all)"] if core_differs else ["label mIoU"]
    columns += ["student core mIoU", "all classes"] if core_differs else ["student mIoU"]
    lines = [columns]
    for row in rows:
        labels = row["labels"]
        cells = [row["title"]]
        if labels is None:
            cells += ["-", "-", "-"]
        else:
            mious = ("core_miou", "miou") if core_differs else ("miou",)
            cells += [f"{100 * labels[name]:.1f}" for name in ("kept", "precision")]
            cells.append(" / ".join(f"{100 * labels[name]:.1f}" for name in mious))
        for name in ("core_miou", "miou") if core_differs else ("miou",):
            cells.append(_spread(row[name]))
        lines.append(cells)
    widths = [max(len(line[column]) for line in lines) for column in range(len(columns))]
    text = ["| " + " | ".join(c.ljust(w) for c, w in zip(line, widths)) + " |" for line in lines]
    text.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(text)


def _spread(values: Sequence[float]) -> str:
    mean = f"{100 * statistics.fmean(values):.1f}"
    return f"{mean} ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else mean
