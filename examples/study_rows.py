"""The rows of the study in the order in which they are worth most, and the trainings they need."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import numpy.typing as npt
from degraded import DEGRADED
from material import Material, Split
from score_forms import FORMS
from study_labels import CHOSEN, FIXED, LABELLINGS, RAW, Labelling, Labels
from training import Recipe
from trainings import Job, digest_of, fingerprint

__all__ = ["ANY", "GROUPS", "MAIN", "NONE", "TRUTH", "Row", "Unlabelled", "needed", "plan", "rows"]

Bytes = npt.NDArray[np.uint8]

ANY = "any"
"""The score form of rows that no score enters."""

NONE = Labelling("labels-only")
TRUTH = Labelling("true-masks")
PAPER = Labelling("pixel", 0.05, "foreground-first")
PRECISE = Labelling("precision", 0.05, "foreground-first")

# With stage II or without. The first two use no scores.
MAIN: tuple[tuple[Labelling, bool], ...] = (
    (NONE, False),
    (TRUTH, False),
    (RAW, False),
    (FIXED, False),
    (PAPER, False),
    (CHOSEN, False),
    (CHOSEN, True),
    (PRECISE, False),
)
_WORSE = tuple((one, stage2) for one, stage2 in MAIN[2:] if not stage2)
_REST = tuple((one, stage2) for one in LABELLINGS for stage2 in (False, True))

GROUPS = ("main", "rest", "degraded", "half")


@dataclass(frozen=True)
class Row:
    """One line of the results.

    Attributes:
        group: one of ``GROUPS``.
        form: of the scores; ``ANY`` where no score enters.
        labelled: how many labelled photos train and calibrate, the first of the list.
        labelling: where the labels of the unlabelled photos come from.
        stage2: whether the student's own labels take over in the last quarter.
        seed: of the training.
    """

    group: str
    form: str
    labelled: int
    labelling: Labelling
    stage2: bool
    seed: int


def rows(labelled: int, seeds: int) -> list[Row]:
    """All rows, the most telling first: ``labelled`` photos, and half of them."""

    def group(
        name: str,
        forms: Iterable[str],
        count: int,
        ways: Sequence[tuple[Labelling, bool]],
        some: Iterable[int],
    ) -> list[Row]:
        return [
            Row(name, ANY if one in (NONE, TRUTH) else form, count, one, stage2, seed)
            for seed in some
            for one, stage2 in ways
            for form in forms
        ]

    later = range(1, seeds)
    everything = [
        *group("main", FORMS, labelled, MAIN, range(seeds)),
        *group("degraded", DEGRADED, labelled, _WORSE, [0]),
        *group("half", FORMS, labelled // 2, MAIN, [0]),
        *group("rest", FORMS, labelled, _REST, [0]),
        *group("degraded", DEGRADED, labelled, _WORSE, later),
        *group("half", FORMS, labelled // 2, MAIN, later),
    ]
    # Rows without scores come up for each form, and the main ones among the rest.
    first: dict[Row, Row] = {}
    for row in everything:
        first.setdefault(replace(row, group=""), row)
    return list(first.values())


def needed(some: Sequence[Row]) -> dict[tuple[str, int], list[Labelling]]:
    """The labellings to make for each form of scores and number of labelled photos."""
    wanted: dict[tuple[str, int], dict[Labelling, None]] = {}
    for row in some:
        if row.form != ANY:
            wanted.setdefault((row.form, row.labelled), {})[row.labelling] = None
    return {key: list(labellings) for key, labellings in wanted.items()}


@dataclass(frozen=True)
class Unlabelled:
    """The label maps that a row trains on, by name; ``maps`` is None where there are none."""

    fingerprint: str
    maps: Callable[[], Sequence[Bytes]] | None


def plan(
    material: Material,
    recipe: Recipe,
    some: Sequence[Row],
    labels: Mapping[tuple[str, int, Labelling], Labels],
) -> tuple[list[Job], dict[Row, str]]:
    """Return the trainings of rows, in their order, and the digest of each row's result.

    A digest covers the data, the recipe, the labelled photos in use, the label maps, the seed and
    stage II. Rows with the same label maps are one training; rows whose labelling is refused, or
    keeps nothing, are the training on the labels alone.
    """
    shared = [material.digest(), asdict(recipe), recipe.stage1]
    given: dict[tuple[str, int, Labelling], Unlabelled] = {}
    jobs: list[Job] = []
    planned: dict[str, int] = {}  # the last job of each plain digest
    digests: dict[Row, str] = {}
    for row in some:
        key = (row.form, row.labelled, row.labelling)
        if key not in given:
            given[key] = _unlabelled(material, row.labelling, labels.get(key))
        source = given[key]
        parts = [*shared, row.labelled, source.fingerprint, row.seed]
        plain = digest_of([*parts, False])
        stage2 = row.stage2 and source.maps is not None
        digests[row] = digest = digest_of([*parts, stage2])
        before = planned.get(plain)
        if before is None:
            split = Split(
                material.labelled.photos[: row.labelled], material.labelled.truth[: row.labelled]
            )
            jobs.append(Job(row.seed, split, source.maps, plain))
            before = planned[plain] = len(jobs) - 1
        if stage2 and all(job.self_reliant != digest for job in jobs):
            jobs[before] = replace(jobs[before], fork_follows=True)
            jobs.append(replace(jobs[before], self_reliant=digest, fork_follows=False))
    return jobs, digests


def _unlabelled(material: Material, one: Labelling, labels: Labels | None) -> Unlabelled:
    truth = material.unlabelled.truth
    if one == TRUTH:
        return Unlabelled(fingerprint(truth), lambda: truth)
    if labels is None or labels.fingerprint is None:
        return Unlabelled(fingerprint(None), None)
    return Unlabelled(labels.fingerprint, lambda: labels.maps(truth))
