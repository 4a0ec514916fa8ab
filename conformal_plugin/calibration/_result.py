"""What a calibration says: q-hat, its guarantee, its counts."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from conformal_plugin._atomic import atomic_write_text
from conformal_plugin._sealed import sealed
from conformal_plugin.calibration._comparison import Comparison
from conformal_plugin.calibration._confident_size import confident_images_needed
from conformal_plugin.calibration._guarantee import Guarantee
from conformal_plugin.calibration._json import fields_of, json_of
from conformal_plugin.calibration._label_weights import LabelWeights
from conformal_plugin.calibration._quantile import images_needed
from conformal_plugin.errors import CalibrationFileError
from conformal_plugin.scores import LabelMap

__all__ = ["Calibration"]


@dataclass(frozen=True, eq=False, repr=False)
class Calibration:
    """The result of calibrating: immutable, comparable, kept as JSON.

    Attributes:
        qhat: the threshold on the nonconformity score ``1 - P(class)``: a float, ``math.inf``
            where no finite threshold keeps the promise, or a read-only float64 array ``(K,)``
            with one threshold per class. A class is in the prediction set when
            ``1 - P(class) <= qhat``.
        alpha: the miscoverage level asked for.
        guarantee: what is promised, for which unit, exact or heuristic.
        ignore_index: the label of pixels that were left out.
        n_pixels: number of calibration pixels.
        n_images: number of images with at least one calibration pixel.
        pixels_per_class: int64 ``(K,)``, calibration pixels by true class.
        images_per_class: int64 ``(K,)``, images that hold the class.
        resolution: upper bound on how far ``qhat`` lies above the exact order statistic (never
            below it); 0.0 when it is exact.
        score: name of the nonconformity score.
        n_effective: estimate of how many independent pixels the calibration pixels are worth, from
            how much their coverage varies between images; None where it is not estimated (fewer
            than two images, an infinite threshold, separate points, or another unit than the
            pixel).
        n_repeats: number of images that came again under an id already counted, and were not
            counted again.
        pooled_classes: classes with too few images, or whose own threshold would say nothing,
            which share the threshold of all classes.
        left_out_classes: classes with too few images, whose threshold is ``-math.inf``: they are in
            no prediction set.
        rule: how labels are to be picked: for a promise on precision to hold, or because ``choose``
            found this one the best with this alpha; None where any will do. Promises about
            prediction sets hold whatever the rule.
        background: the background class of that rule; None with ``rule``.
        max_pixels: the most labelled pixels of an image that the promise is for; None for no
            bound.
        label_map: what the values of the true masks mean; None where they are classes. Masks of
            later steps are read by it, and labels can be written back in those numbers.
        cap: the largest share of an image's pixels that may keep their label, which ``filter``
            holds to; None for no cap.
        of: the labels that a promise on precision, and the cap, are about: ``"all"``, or those of
            the ``"foreground"``.
        n_groups: number of groups (videos, patients, scenes) with at least one calibration pixel;
            None where images did not come in groups.
        groups_per_class: int64 ``(K,)``, groups that hold the class; None likewise.
        delta: the probability over calibration sets with which coverage promised with confidence
            fails; None of other promises.
        comparison: whether the maps of labelled and unlabelled images look exchangeable; None where
            they were not compared.
        label_weights: what :func:`conformal_plugin.labelling.label_weights` makes weights of; None
            where the calibration is not of ``choose``.
        label_content: the images' counts of pixels by true class, image by image in any order, as
            one number below ``2**63``; None where they were not looked at so. By it
            :func:`conformal_plugin.testing.assert_coverage` tells the same images.
    """

    qhat: float | np.ndarray[Any, Any]
    alpha: float
    guarantee: Guarantee
    ignore_index: int
    n_pixels: int
    n_images: int
    pixels_per_class: np.ndarray[Any, Any]
    images_per_class: np.ndarray[Any, Any]
    resolution: float = 0.0
    score: str = "1 - P(class)"
    n_effective: float | None = None
    n_repeats: int = 0
    pooled_classes: tuple[int, ...] = ()
    left_out_classes: tuple[int, ...] = ()
    rule: str | None = None
    background: int | None = None
    max_pixels: int | None = None
    label_map: LabelMap | None = None
    cap: float | None = None
    of: str = "all"
    n_groups: int | None = None
    groups_per_class: np.ndarray[Any, Any] | None = None
    delta: float | None = None
    comparison: Comparison | None = None
    label_weights: LabelWeights | None = None
    label_content: int | None = None

    def __post_init__(self) -> None:
        for name, dtype in (("pixels_per_class", np.int64), ("images_per_class", np.int64)):
            object.__setattr__(self, name, _frozen(getattr(self, name), dtype))
        if self.groups_per_class is not None:
            object.__setattr__(self, "groups_per_class", _frozen(self.groups_per_class, np.int64))
        if np.ndim(self.qhat):
            object.__setattr__(self, "qhat", _frozen(self.qhat, np.float64))
        else:
            object.__setattr__(self, "qhat", float(self.qhat))

    @property
    def promises_precision(self) -> bool:
        """Whether the promise is about labels, and ``alpha`` its epsilon, not about coverage."""
        return self.guarantee.name.startswith("precision")

    @property
    def n_units(self) -> int:
        """How many exchangeable units were counted, groups where there are any, else images."""
        return self.n_images if self.n_groups is None else self.n_groups

    @property
    def n_needed(self) -> int:
        """How many of them a finite threshold takes at least, of promises about coverage."""
        if self.delta is None:
            return images_needed(self.alpha)
        return confident_images_needed(self.alpha, self.delta)

    @property
    def num_classes(self) -> int:
        """K, the number of classes."""
        return len(self.pixels_per_class)

    @property
    def informative(self) -> bool:
        """False when some threshold is 1 or more, so that its class is in every set."""
        return bool(np.all(np.asarray(self.qhat) < 1.0))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Calibration):
            return NotImplemented
        return self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __repr__(self) -> str:
        if np.ndim(self.qhat):
            thresholds = np.asarray(self.qhat)
            qhat = (
                f"{thresholds.min():.6g} ... {thresholds.max():.6g} over {len(thresholds)} classes"
            )
        else:
            qhat = f"{self.qhat:.8g}"
            if self.guarantee.per_unit and self.n_units < self.n_needed:
                qhat += f" (needs at least {self.n_needed} {self.guarantee.unit}s)"
        effective = (
            "" if self.n_effective is None else f" (worth about {self.n_effective:.0f} independent)"
        )
        repeats = f" ({self.n_repeats} repeats left out)" if self.n_repeats else ""
        groups = "" if self.n_groups is None else f" in {self.n_groups} groups"
        rule = f", rule={self.rule!r}" if self.rule else ""
        rule += f", cap={self.cap:g}" if self.cap is not None else ""
        rule += f", of={self.of!r}" if self.of != "all" else ""
        rounded = f" (rounded up by at most {self.resolution:.1e})" if self.resolution else ""
        return (
            f"Calibration(qhat={qhat}{rounded}, alpha={self.alpha:g}, "
            f"guarantee={self.guarantee.name!r} per {self.guarantee.unit}, "
            f"{'exact' if self.guarantee.exact else 'heuristic'}, "
            f"n_pixels={self.n_pixels}{effective}, n_images={self.n_images}{groups}{repeats}, "
            f"num_classes={self.num_classes}, score={self.score!r}, "
            f"ignore_index={self.ignore_index}{rule}{self._classes()})"
        )

    def _classes(self) -> str:
        """A line for each class that has a threshold of its own, with its counts."""
        if not np.ndim(self.qhat):
            return ""
        remarks = dict.fromkeys(
            self.pooled_classes, ", pooled: too few images, or scored 0 too often"
        )
        remarks |= dict.fromkeys(self.left_out_classes, ", left out: too few images")
        of_groups = [""] * self.num_classes
        if self.groups_per_class is not None:
            of_groups = [f" of {groups} groups" for groups in self.groups_per_class]
        columns = zip(
            np.asarray(self.qhat), self.images_per_class, of_groups, self.pixels_per_class
        )
        return "".join(
            f"\n    class {c}: qhat={qhat:.6g}, {images} images{groups}, {pixels} pixels"
            f"{remarks.get(c, '')}"
            for c, (qhat, images, groups, pixels) in enumerate(columns)
        )

    def with_label_map(self, label_map: LabelMap | None) -> Calibration:
        """The same calibration, with what the values of its masks mean."""
        return replace(self, label_map=label_map)

    def to_json(self) -> str:
        """The calibration as versioned JSON; infinite thresholds are written as strings."""
        # By name: a result that release 0.1.0 pickled lacks later fields, and has their defaults.
        return json_of({field.name: getattr(self, field.name) for field in fields(self)})

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Read what :meth:`to_json` or :meth:`save` wrote.

        Raises:
            CalibrationFileError: not a calibration, of another version, damaged, or changed since
                it was saved.
        """
        return cls(**fields_of(text))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the calibration to ``path`` as JSON with a checksum, all of it or nothing."""
        atomic_write_text(path, sealed(json.loads(self.to_json())))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read a calibration from ``path``.

        Raises:
            CalibrationFileError: as :meth:`from_json`, naming the file.
        """
        try:
            return cls(**fields_of(Path(path).read_text(encoding="utf-8"), file=True))
        except (CalibrationFileError, OSError, UnicodeDecodeError) as error:
            raise CalibrationFileError(f"{path}: {error}") from error


def _frozen(values: Any, dtype: Any) -> np.ndarray[Any, Any]:
    array = np.array(values, dtype=dtype)
    array.flags.writeable = False
    return array
