"""Runs the rows of the ablation table, each trained once and remembered in the output folder."""

from __future__ import annotations

import hashlib
import io
import json
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from label_sources import LabelSource, Quality
from material import Material
from tqdm import tqdm
from training import Recipe, State, build_student, confusion, mean_iou, train

from conformal_plugin import TwoStage
from conformal_plugin.atomic import atomic_open, atomic_write_text

__all__ = ["ROWS", "Row", "RunStoppedError", "Store", "plan", "run_all", "summarise", "table"]

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
    Row("most-probable", "+ conformal sets, no foreground-first", "most-probable"),
    Row("calibrated", "+ calibrated (foreground-first)", "foreground-first"),
    Row("self-reliant", "+ calibrated and self-reliance", "foreground-first", True),
    Row("ceiling", "ceiling: true masks of the unlabelled", "truth"),
)


class RunStoppedError(Exception):
    """Another worker failed or the user stopped the run: leave the step loop."""


class Store:
    """Results and stage-I checkpoints under a folder, by the digest of all that went into them."""

    def __init__(self, folder: Path):
        self.folder = folder

    def read(self, digest: str) -> dict[str, Any] | None:
        """Return a finished result, or None."""
        path = self._result(digest)
        if not path.is_file():
            return None
        result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return result

    def write(self, digest: str, result: Mapping[str, Any]) -> None:
        """Remember a finished result."""
        atomic_write_text(self._result(digest), json.dumps(result, indent=1))

    def read_state(self, digest: str) -> State | None:
        """Return the end of stage I, or None."""
        path = self._state(digest)
        return torch.load(path, weights_only=True) if path.is_file() else None

    def write_state(self, digest: str, state: State) -> None:
        """Remember the end of stage I until both rows that share it are finished."""
        buffer = io.BytesIO()
        torch.save(state, buffer)
        with atomic_open(self._state(digest)) as handle:
            handle.write(buffer.getvalue())

    def drop_state(self, digest: str) -> None:
        """Forget the end of a stage I that nothing needs any more."""
        self._state(digest).unlink(missing_ok=True)

    def _result(self, digest: str) -> Path:
        return self.folder / f"{digest}.json"

    def _state(self, digest: str) -> Path:
        return self.folder / f"{digest}.stage1.pt"


@dataclass(frozen=True)
class Job:
    """The trainings of one seed and one label source: its plain row, then its self-reliant row."""

    seed: int
    maps: Sequence[Bytes] | None
    plain: str  # digest of the result after steps of stage I alone
    self_reliant: str | None  # digest of the result that forks off for stage II


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
        prints = {name: _fingerprint(some) for name, some in maps.items()}
        for seed in seeds:
            for row in ROWS:
                parts = [*shared, prints[row.source], seed]
                digest = _digest([*parts, row.self_reliant])
                digests[form, row.key, seed] = digest
                plain = _digest([*parts, False])
                job = jobs.get(plain) or Job(seed, maps[row.source], plain, None)
                jobs[plain] = replace(job, self_reliant=digest) if row.self_reliant else job
    return sorted(jobs.values(), key=_effort, reverse=True), digests


def run_all(
    jobs: Sequence[Job], material: Material, recipe: Recipe, store: Store, workers: int
) -> int:
    """Do every job that the store does not hold yet; return the number of trainings done.

    Workers are threads of one torch thread each.
    """
    stop = threading.Event()
    with tqdm(total=sum(_steps_left(job, recipe, store) for job in jobs), unit="step") as bar:
        bar.set_description("training students")

        def on_step() -> None:
            if stop.is_set():
                raise RunStoppedError
            with bar.get_lock():
                bar.update()

        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            futures = [pool.submit(_run_job, job, material, recipe, store, on_step) for job in jobs]
            try:
                finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
                for future in finished:
                    future.result()
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise
    return sum(future.result() for future in futures)


def _run_job(
    job: Job, material: Material, recipe: Recipe, store: Store, on_step: Callable[[], None]
) -> int:
    plain_due, fork_due = _due(job, store)
    student = build_student(recipe, len(material.classes), job.seed)
    stage1_only = TwoStage(recipe.steps, recipe.steps)
    two_stages = TwoStage(recipe.stage1, recipe.steps)

    def go_on(schedule: TwoStage, until: int, state: State | None) -> State:
        photos = material.unlabelled.photos
        return train(
            student,
            recipe,
            material.labelled,
            photos,
            job.maps,
            seed=job.seed,
            schedule=schedule,
            until=until,
            resume=state,
            on_step=on_step,
        )

    def finish(digest: str, **extra: Any) -> None:
        counts = confusion(student, material.test, len(material.classes))
        store.write(
            digest,
            {
                "seed": job.seed,
                "core_miou": mean_iou(counts, material.core),
                "miou": mean_iou(counts),
                "confusion": counts.tolist(),
                "seconds": round(time.perf_counter() - began, 1),
                **extra,
            },
        )

    began = time.perf_counter()
    state = store.read_state(job.plain)
    if fork_due and state is None:
        state = go_on(two_stages, recipe.stage1, None)
        store.write_state(job.plain, state)
    if plain_due:
        go_on(stage1_only, recipe.steps, state)
        finish(job.plain)
        began = time.perf_counter()
    if fork_due and state is not None and job.self_reliant is not None:
        student.load_state_dict(state["student"])
        own = confusion(student, material.unlabelled, len(material.classes))
        go_on(two_stages, recipe.steps, state)
        finish(job.self_reliant, own_labels=asdict(_own_quality(own, material)))
    store.drop_state(job.plain)
    return plain_due + fork_due


def _own_quality(counts: npt.NDArray[np.int64], material: Material) -> Quality:
    """Quality of the student's own labels as stage II begins; it drops no pixel."""
    precision = float(np.trace(counts) / counts.sum())
    return Quality(1.0, precision, mean_iou(counts, material.core), mean_iou(counts))


def _due(job: Job, store: Store) -> tuple[bool, bool]:
    """Whether the plain and the self-reliant row of a job are still to be trained."""
    fork_due = job.self_reliant is not None and store.read(job.self_reliant) is None
    return store.read(job.plain) is None, fork_due


def _effort(job: Job) -> float:
    """Relative length of a job; long ones go first, so that workers finish together."""
    return (0.5 if job.maps is None else 1.0) + (0.3 if job.self_reliant else 0.0)


def _steps_left(job: Job, recipe: Recipe, store: Store) -> int:
    plain_due, fork_due = _due(job, store)
    left = 0
    if store.read_state(job.plain) is None:
        left += recipe.stage1 * (plain_due or fork_due)
    return left + (recipe.steps - recipe.stage1) * (plain_due + fork_due)


def _fingerprint(maps: Sequence[Bytes] | None) -> str:
    if maps is None:
        return "no maps"
    state = hashlib.sha256()
    for label_map in maps:
        state.update(np.ascontiguousarray(label_map).data)
    return state.hexdigest()


def _digest(parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


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
