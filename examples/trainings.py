"""Does trainings, several at a time, and remembers each result in the output folder."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from label_sources import Quality
from material import Material, Split
from tqdm import tqdm
from training import Recipe, State, build_student, confusion, mean_iou, train

from conformal_plugin import TwoStage
from conformal_plugin._atomic import atomic_open, atomic_write_text

__all__ = ["Job", "RunStoppedError", "Store", "digest_of", "fingerprint", "run_all"]

Bytes = npt.NDArray[np.uint8]


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
        """Remember the end of stage I until the rows that share it are finished."""
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
    """The trainings of one seed and one set of label maps: the plain one, then the self-reliant.

    Attributes:
        seed: of the student and of all that it sees.
        labelled: the labelled photos in use.
        maps: gives the label maps of the unlabelled photos; None leaves these photos out.
        plain: digest of the result after steps of stage I alone.
        self_reliant: digest of the result that forks off for stage II, if it is wanted.
        fork_follows: whether a later job forks off, for which the end of stage I is kept.
    """

    seed: int
    labelled: Split
    maps: Callable[[], Sequence[Bytes]] | None
    plain: str
    self_reliant: str | None = None
    fork_follows: bool = False

    def due(self, store: Store) -> tuple[bool, bool]:
        """Whether the plain and the self-reliant training are still to be done."""
        fork_due = self.self_reliant is not None and store.read(self.self_reliant) is None
        return store.read(self.plain) is None, fork_due


def run_all(
    jobs: Sequence[Job],
    material: Material,
    recipe: Recipe,
    store: Store,
    workers: int,
    *,
    on_result: Callable[[], None] = lambda: None,
    deadline: float | None = None,
) -> int:
    """Do every job that the store does not hold yet; return the number of trainings done.

    Workers are threads of one torch thread each. ``on_result`` is called, by one thread at a time,
    after each job that trained something. No job is begun after ``deadline``, a time of
    ``time.monotonic()``.
    """
    stop = threading.Event()
    reporting = threading.Lock()
    in_use: dict[str, threading.Lock] = defaultdict(threading.Lock)
    # A log file gets a line a minute, a terminal a bar that moves.
    pause = 0.1 if sys.stderr.isatty() else 60.0
    total = _steps_left(jobs, recipe, store)
    with tqdm(total=total, unit="step", mininterval=pause, smoothing=0.01) as bar:
        bar.set_description("training students")

        def on_step() -> None:
            if stop.is_set():
                raise RunStoppedError
            with bar.get_lock():
                bar.update()

        def run(job: Job) -> int:
            # Two jobs of one stage I take turns, so that the second finds what the first has left.
            with in_use[job.plain]:
                if deadline is not None and time.monotonic() > deadline:
                    return 0
                done = _run_job(job, material, recipe, store, on_step)
            if done:
                with reporting:
                    on_result()
            return done

        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            futures = [pool.submit(run, job) for job in jobs]
            try:
                finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
                for future in finished:
                    future.result()
            except BaseException:
                stop.set()
                pool.shutdown(cancel_futures=True)
                raise
    return sum(future.result() for future in futures)


def _steps_left(jobs: Sequence[Job], recipe: Recipe, store: Store) -> int:
    """Training steps that are still to be done; what jobs share is counted once."""
    begun: set[str] = set()
    left = 0
    for job in jobs:
        plain_due, fork_due = job.due(store)
        plain_due = plain_due and job.plain not in begun
        if job.plain not in begun and store.read_state(job.plain) is None:
            left += recipe.stage1 * (plain_due or fork_due)
        left += (recipe.steps - recipe.stage1) * (plain_due + fork_due)
        begun.add(job.plain)
    return left


def _run_job(
    job: Job, material: Material, recipe: Recipe, store: Store, on_step: Callable[[], None]
) -> int:
    plain_due, fork_due = job.due(store)
    if not plain_due and not fork_due:
        if not job.fork_follows:
            store.drop_state(job.plain)
        return 0
    student = build_student(recipe, len(material.classes), job.seed)
    maps = None if job.maps is None else job.maps()
    stage1_only = TwoStage(recipe.steps, recipe.steps)
    two_stages = TwoStage(recipe.stage1, recipe.steps)

    def go_on(schedule: TwoStage, until: int, state: State | None) -> State:
        return train(
            student,
            recipe,
            job.labelled,
            material.unlabelled.photos,
            maps,
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
    if (fork_due or job.fork_follows) and state is None:
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
    if not job.fork_follows:
        store.drop_state(job.plain)
    return plain_due + fork_due


def _own_quality(counts: npt.NDArray[np.int64], material: Material) -> Quality:
    """Quality of the student's own labels as stage II begins; it drops no pixel."""
    precision = float(np.trace(counts) / counts.sum())
    return Quality(1.0, precision, mean_iou(counts, material.core), mean_iou(counts))


def fingerprint(maps: Sequence[Bytes] | None) -> str:
    """A name for label maps by their content."""
    if maps is None:
        return "no maps"
    state = hashlib.sha256()
    for label_map in maps:
        state.update(np.ascontiguousarray(label_map).data)
    return state.hexdigest()


def digest_of(parts: Any) -> str:
    """A short name for anything that can be written as JSON."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
