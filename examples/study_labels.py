"""The pseudo-labels of every row of the study, made once and kept, and what the truth says of them.

A user has the labelled photos alone: everything here is calibrated and chosen on them. The truth of
the unlabelled photos measures the labels and does nothing else.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from label_sources import Quality
from material import IGNORE, Material
from tqdm import tqdm
from training import mean_iou
from trainings import digest_of, fingerprint

import conformal_plugin
from conformal_plugin import (
    Calibration,
    PrecisionCalibrator,
    ThresholdPath,
    calibrate,
    calibrate_class_conditional,
    calibrate_image_level,
    choose,
    filter,
)
from conformal_plugin._atomic import atomic_open, atomic_write_text
from conformal_plugin.errors import UninformativeThresholdError

__all__ = [
    "LABELLINGS",
    "RULES",
    "LabelQuality",
    "LabelShelf",
    "Labelling",
    "Labels",
    "quality_of",
]

Bytes = npt.NDArray[np.uint8]
Scores = npt.NDArray[np.floating]

BACKGROUND = 0
RULES = ("foreground-first", "most-probable", "singleton")


@dataclass(frozen=True)
class Labelling:
    """One way to label the unlabelled photos from the annotator's scores.

    Attributes:
        kind: ``raw`` (argmax), ``fixed`` (argmax where its score reaches ``level``), ``chosen``
            (what :func:`conformal_plugin.choose` proposes), or the calibration: ``pixel``,
            ``image-level``, ``class-conditional``, ``precision``.
        level: the fixed threshold, alpha, or epsilon; None with ``raw`` and ``chosen``.
        rule: how a label is picked from a prediction set; None without one.
    """

    kind: str
    level: float | None = None
    rule: str | None = None

    @property
    def key(self) -> str:
        """A name for tables and files."""
        level = None if self.level is None else f"{self.level:g}"
        return "-".join(part for part in (self.kind, level, self.rule) if part)


RAW = Labelling("raw")
FIXED = Labelling("fixed", 0.95)
CHOSEN = Labelling("chosen")
LABELLINGS = (
    RAW,
    FIXED,
    CHOSEN,
    *(Labelling("pixel", alpha, rule) for alpha in (0.05, 0.1, 0.2) for rule in RULES),
    *(Labelling("image-level", 0.05, rule) for rule in RULES),
    *(Labelling("class-conditional", 0.05, rule) for rule in RULES),
    *(Labelling("precision", epsilon, rule) for epsilon in (0.05, 0.1) for rule in RULES),
)


@dataclass(frozen=True)
class LabelQuality(Quality):
    """What becomes of the pixels of objects (core classes but the background) and of background.

    Attributes:
        objects_right: share of the objects' pixels with the right label.
        objects_wrong: share with another label; the others are dropped.
        background_wrong: share of the background's pixels that are called an object.
    """

    objects_right: float
    objects_wrong: float
    background_wrong: float


@dataclass(frozen=True)
class Labels:
    """The labels of one labelling, or the reason why there are none.

    Attributes:
        fingerprint: of the label maps; None where there are none to train on.
        quality: what the truth says of them; None without maps.
        level, rule: what was used; with ``chosen`` what was proposed, level None for raw.
        note: the library's words where it refuses, keeps nothing or proposes.
        path: file of the label maps.
    """

    fingerprint: str | None
    quality: LabelQuality | None
    level: float | None
    rule: str | None
    note: str
    path: Path

    def maps(self, like: Sequence[Bytes]) -> list[Bytes]:
        """The label maps, of the shapes of ``like``."""
        with np.load(self.path) as archive:
            flat = archive["labels"]
        ends = np.cumsum([one.size for one in like])
        return [part.reshape(one.shape) for part, one in zip(np.split(flat, ends[:-1]), like)]


@dataclass(frozen=True)
class _Way:
    """How scores become labels; ``label`` is None where the library refuses."""

    label: Callable[[Scores], Bytes] | None
    level: float | None
    rule: str | None
    note: str = ""


class LabelShelf:
    """Label maps on disk, by what they were made from: photos, masks, maps and the library.

    Args:
        folder: where they are kept.
        material: photos, truth and the annotator's scores in every form.
        sources: a digest of what the scores are made from.
    """

    def __init__(self, folder: Path, material: Material, sources: str) -> None:
        self._material = material
        self._folder = folder / digest_of([material.digest(), sources, _library()])

    def labels(
        self, form: str, count: int, labellings: Sequence[Labelling]
    ) -> dict[Labelling, Labels]:
        """Labels from the scores in one form, calibrated on the first ``count`` labelled photos.

        Those that are on the shelf are read, the others are made in one reading of the scores.
        """
        missing = [one for one in labellings if not self._file(form, count, one, "json").is_file()]
        if missing:
            self._make(form, count, missing)
        return {one: self._read(form, count, one) for one in labellings}

    def _make(self, form: str, count: int, labellings: Sequence[Labelling]) -> None:
        material = self._material
        annotation = material.annotations[form]
        given = [scores for _, scores in zip(range(count), _watched(annotation.labelled, form))]
        names = annotation.labelled_ids
        calibrations = _Calibrations(
            given,
            material.labelled.truth[:count],
            None if names is None else names[:count],
            material.core,
        )
        ways = {one: _way(one, calibrations) for one in _watched(labellings, f"{form} calibrating")}
        maps: dict[Labelling, list[Bytes]] = {one: [] for one in labellings}
        refusals: dict[Labelling, str] = {}
        for scores in _watched(annotation.unlabelled, f"{form} labelling"):
            for one, way in ways.items():
                if way.label is None or one in refusals:
                    continue
                try:
                    maps[one].append(way.label(scores))
                except UninformativeThresholdError as error:
                    refusals[one] = f"refused: {error}"
        for one, way in ways.items():
            self._write(form, count, one, way, maps[one], refusals.get(one))

    def _write(
        self,
        form: str,
        count: int,
        one: Labelling,
        way: _Way,
        maps: Sequence[Bytes],
        refusal: str | None,
    ) -> None:
        useful = bool(maps) and refusal is None and any((m != IGNORE).any() for m in maps)
        note = refusal or way.note
        if useful:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, labels=np.concatenate([m.ravel() for m in maps]))
            with atomic_open(self._file(form, count, one, "npz")) as handle:
                handle.write(buffer.getvalue())
        elif not note:
            note = "kept nothing: no pixel of the unlabelled photos gets a label"
        quality = quality_of(maps, self._material) if useful else None
        content = {
            "fingerprint": fingerprint(maps) if useful else None,
            "quality": None if quality is None else asdict(quality),
            "level": way.level,
            "rule": way.rule,
            "note": note,
        }
        atomic_write_text(self._file(form, count, one, "json"), json.dumps(content, indent=1))

    def _read(self, form: str, count: int, one: Labelling) -> Labels:
        path = self._file(form, count, one, "json")
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        quality = content.pop("quality")
        return Labels(
            **content,
            quality=None if quality is None else LabelQuality(**quality),
            path=self._file(form, count, one, "npz"),
        )

    def _file(self, form: str, count: int, one: Labelling, ending: str) -> Path:
        return self._folder / f"{form}-{count}-{one.key}.{ending}"


def quality_of(maps: Sequence[Bytes], material: Material) -> LabelQuality:
    """What the truth of the unlabelled photos says of their label maps.

    Over pixels that are not ignored; a dropped pixel is a miss in an IoU.
    """
    size = len(material.classes) + 1  # the last for dropped pixels
    counts = np.zeros((size, size), np.int64)
    for given, truth in zip(maps, material.unlabelled.truth):
        valid = truth != IGNORE
        labels = np.minimum(given[valid], size - 1).astype(np.int64)
        pairs = truth[valid].astype(np.int64) * size + labels
        counts += np.bincount(pairs, minlength=size**2).reshape(counts.shape)
    kept = int(counts[:, :-1].sum())
    objects = [c for c in material.core if c != BACKGROUND]
    pixels, right = counts[objects].sum(), counts[objects, objects].sum()
    background = counts[BACKGROUND]
    return LabelQuality(
        kept=kept / int(counts.sum()),
        precision=float(np.trace(counts)) / kept if kept else math.nan,
        core_miou=mean_iou(counts, material.core),
        miou=mean_iou(counts),
        objects_right=float(right / pixels),
        objects_wrong=float((counts[objects, :-1].sum() - right) / pixels),
        background_wrong=float((background[:-1].sum() - background[BACKGROUND]) / background.sum()),
    )


class _Calibrations:
    """What the labelled photos in use give, each once."""

    def __init__(
        self,
        scores: Sequence[Scores],
        truth: Sequence[Bytes],
        ids: Sequence[str] | None,
        core: Sequence[int],
    ) -> None:
        self._scores = scores
        self._truth = truth
        self._ids = ids
        self._core = core
        self._precision: dict[str, PrecisionCalibrator] = {}

    def of(self, one: Labelling) -> Calibration:
        """The calibration that a labelling names."""
        if one.level is None or one.rule is None:
            raise ValueError(f"{one} has no calibration")
        if one.kind == "precision":
            return self._counted(one.rule).result(one.level)
        ways: Mapping[str, Callable[..., Calibration]] = {
            "pixel": calibrate,
            "image-level": calibrate_image_level,
            "class-conditional": calibrate_class_conditional,
        }
        return ways[one.kind](self._scores, self._truth, one.level, ignore_index=IGNORE)

    def choice(self) -> conformal_plugin.Choice:
        """What the library proposes, by the mIoU over the classes that are not rare."""
        return choose(self._scores, self._truth, classes=self._core, ignore_index=IGNORE)

    def _counted(self, rule: str) -> PrecisionCalibrator:
        if rule not in self._precision:
            # Without caps, so that the students of docs/study.md can be trained again.
            first = rule == "foreground-first"
            path = ThresholdPath.foreground_first() if first else ThresholdPath.one_threshold()
            calibrator = PrecisionCalibrator(rule=rule, ignore_index=IGNORE, path=path)
            calibrator.update(self._scores, self._truth, self._ids)
            self._precision[rule] = calibrator
        return self._precision[rule]


def _way(one: Labelling, calibrations: _Calibrations) -> _Way:
    if one.kind == "raw":
        return _Way(_argmax, None, None)
    if one.kind == "fixed":
        return _Way(lambda scores: _confident(scores, one.level or 0.0), one.level, None)
    if one.kind == "chosen":
        choice = calibrations.choice()
        note = choice.verdict.replace("\n", " ")
        if not choice.worth_using:
            return _Way(None, choice.alpha, choice.rule, note)
        if choice.calibration is None:
            return _Way(_argmax, None, None, note)
        return _Way(_filtering(choice.calibration, choice.rule), choice.alpha, choice.rule, note)
    calibration = calibrations.of(one)
    nothing = np.isneginf(calibration.qhat).all()
    note = f"kept nothing: {calibration.guarantee.statement}" if nothing else ""
    label = None if nothing else _filtering(calibration, one.rule)
    return _Way(label, one.level, one.rule, note)


def _argmax(scores: Scores) -> Bytes:
    return scores.argmax(axis=0).astype(np.uint8)


def _confident(scores: Scores, threshold: float) -> Bytes:
    sure = scores.max(axis=0).astype(np.float32) >= threshold
    return np.where(sure, _argmax(scores), np.uint8(IGNORE))


def _filtering(calibration: Calibration, rule: str | None) -> Callable[[Scores], Bytes]:
    def label(scores: Scores) -> Bytes:
        labels: Bytes = filter(scores, calibration, rule=rule, ignore_index=IGNORE)
        return labels

    return label


def _library() -> str:
    """A digest of the library's source: other code may label otherwise."""
    state = hashlib.sha256()
    root = Path(conformal_plugin.__file__).parent
    for path in sorted(root.rglob("*.py")):
        state.update(path.relative_to(root).as_posix().encode())
        state.update(path.read_bytes())
    return state.hexdigest()[:12]


def _watched(things: Iterable[Any], what: str) -> Any:
    return tqdm(things, desc=what, leave=False)
