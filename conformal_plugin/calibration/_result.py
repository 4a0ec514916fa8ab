"""The conformal quantile and what a calibration says: q-hat, its guarantee, its counts."""

from __future__ import annotations

import json
import math
import numbers
import os
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from conformal_plugin._atomic import atomic_write_text
from conformal_plugin.errors import AlphaError, CalibrationFileError

__all__ = ["Calibration", "Guarantee", "conformal_rank", "exact_alpha", "images_needed"]

_FORMAT = "conformal-plugin calibration"
_VERSION = 1


def exact_alpha(alpha: Any) -> Fraction:
    """``alpha`` as the decimal number its user wrote: 0.05 is 1/20, not the nearest binary float.

    Raises:
        AlphaError: no real number strictly between 0 and 1.
    """
    number = isinstance(alpha, numbers.Real) and not isinstance(alpha, bool)
    exact = Fraction(str(alpha)) if number and math.isfinite(alpha) else Fraction(0)
    if not 0 < exact < 1:
        raise AlphaError(
            f"alpha must be a number strictly between 0 and 1 (0.05 asks for 95 % coverage), got "
            f"{alpha!r}"
        )
    return exact


def conformal_rank(n: int, alpha: Any) -> int:
    """``ceil((n + 1) (1 - alpha))``, in exact arithmetic.

    q-hat is the nonconformity score of this rank, counted from the smallest; when the rank exceeds
    ``n`` it is infinite (ConformalSAM, arXiv 2507.15803, section 3; the correction by one is
    split conformal prediction's).
    """
    return math.ceil((n + 1) * (1 - exact_alpha(alpha)))


def images_needed(alpha: Any) -> int:
    """The fewest images with which a promise per image can have a finite threshold.

    The smallest K with ``alpha >= 1 / (K + 1)``: below it even the largest score is too small.
    """
    return math.ceil(1 / exact_alpha(alpha) - 1)


@dataclass(frozen=True)
class Guarantee:
    """What a calibration promises.

    Attributes:
        name: short name, e.g. ``"pixel-marginal"``.
        unit: what is counted as one exchangeable observation: ``"pixel"``, ``"point"`` or
            ``"image"``.
        exact: True for a finite-sample theorem, False for a heuristic.
        statement: the promise in a sentence.
    """

    name: str
    unit: str
    exact: bool
    statement: str


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
        pooled_classes: classes with too few images, which share the threshold of all classes.
        left_out_classes: classes with too few images, whose threshold is ``-math.inf``: they are in
            no prediction set.
        rule: how labels are to be picked: for a promise on precision to hold, or because ``choose``
            found this one the best with this alpha; None where any will do. Promises about
            prediction sets hold whatever the rule.
        background: the background class of that rule; None with ``rule``.
        max_pixels: the most labelled pixels of an image that the promise is for; None for no
            bound.
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

    def __post_init__(self) -> None:
        for name, dtype in (("pixels_per_class", np.int64), ("images_per_class", np.int64)):
            object.__setattr__(self, name, _frozen(getattr(self, name), dtype))
        if np.ndim(self.qhat):
            object.__setattr__(self, "qhat", _frozen(self.qhat, np.float64))
        else:
            object.__setattr__(self, "qhat", float(self.qhat))

    @property
    def promises_precision(self) -> bool:
        """Whether the promise is about labels, and ``alpha`` its epsilon, not about coverage."""
        return self.guarantee.name.startswith("precision")

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
            if self.guarantee.unit == "image" and self.n_images < images_needed(self.alpha):
                qhat += f" (needs at least {images_needed(self.alpha)} images)"
        effective = (
            "" if self.n_effective is None else f" (worth about {self.n_effective:.0f} independent)"
        )
        repeats = f" ({self.n_repeats} repeats left out)" if self.n_repeats else ""
        rule = f", rule={self.rule!r}" if self.rule else ""
        rounded = f" (rounded up by at most {self.resolution:.1e})" if self.resolution else ""
        return (
            f"Calibration(qhat={qhat}{rounded}, alpha={self.alpha:g}, "
            f"guarantee={self.guarantee.name!r} per {self.guarantee.unit}, "
            f"{'exact' if self.guarantee.exact else 'heuristic'}, "
            f"n_pixels={self.n_pixels}{effective}, n_images={self.n_images}{repeats}, "
            f"num_classes={self.num_classes}, score={self.score!r}, "
            f"ignore_index={self.ignore_index}{rule}{self._classes()})"
        )

    def _classes(self) -> str:
        """A line for each class that has a threshold of its own, with its counts."""
        if not np.ndim(self.qhat):
            return ""
        remarks = dict.fromkeys(self.pooled_classes, ", pooled: too few images")
        remarks |= dict.fromkeys(self.left_out_classes, ", left out: too few images")
        columns = zip(np.asarray(self.qhat), self.images_per_class, self.pixels_per_class)
        return "".join(
            f"\n    class {c}: qhat={qhat:.6g}, {images} images, {pixels} pixels"
            f"{remarks.get(c, '')}"
            for c, (qhat, images, pixels) in enumerate(columns)
        )

    def to_json(self) -> str:
        """The calibration as versioned JSON; infinite thresholds are written as strings."""
        content = {
            "format": _FORMAT,
            "version": _VERSION,
            "qhat": _encode(self.qhat),
            "alpha": self.alpha,
            "guarantee": vars(self.guarantee),
            "score": self.score,
            "num_classes": self.num_classes,
            "ignore_index": self.ignore_index,
            "n_pixels": self.n_pixels,
            "n_images": self.n_images,
            "pixels_per_class": self.pixels_per_class.tolist(),
            "images_per_class": self.images_per_class.tolist(),
            "resolution": self.resolution,
            "n_effective": self.n_effective,
            "n_repeats": self.n_repeats,
            "pooled_classes": list(self.pooled_classes),
            "left_out_classes": list(self.left_out_classes),
            "rule": self.rule,
            "background": self.background,
            "max_pixels": self.max_pixels,
        }
        return json.dumps(content, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Calibration:
        """Read what :meth:`to_json` wrote.

        Raises:
            CalibrationFileError: not a calibration, of another version, or damaged.
        """
        try:
            content = json.loads(text)
        except json.JSONDecodeError as error:
            raise CalibrationFileError(
                f"a calibration is a JSON object, and this text is not JSON ({error}); write it "
                f"again with Calibration.save or `conformal-plugin calibrate`"
            ) from error
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise CalibrationFileError(
                f'expected a JSON object with "format": "{_FORMAT}", which this is not; pass a '
                f"file that Calibration.save or `conformal-plugin calibrate` wrote"
            )
        if content.get("version") != _VERSION:
            raise CalibrationFileError(
                f"this calibration is of version {content.get('version')!r} and this release reads "
                f"version {_VERSION}; calibrate again, or install the release that wrote it"
            )
        try:
            return cls(
                qhat=_decode(content["qhat"]),
                alpha=float(content["alpha"]),
                guarantee=Guarantee(**content["guarantee"]),
                ignore_index=int(content["ignore_index"]),
                n_pixels=int(content["n_pixels"]),
                n_images=int(content["n_images"]),
                pixels_per_class=np.array(content["pixels_per_class"], dtype=np.int64),
                images_per_class=np.array(content["images_per_class"], dtype=np.int64),
                resolution=float(content["resolution"]),
                score=str(content["score"]),
                # Absent from the first files of this version.
                n_effective=_optional_float(content.get("n_effective")),
                n_repeats=int(content.get("n_repeats", 0)),
                pooled_classes=tuple(map(int, content.get("pooled_classes", ()))),
                left_out_classes=tuple(map(int, content.get("left_out_classes", ()))),
                rule=content.get("rule"),
                background=content.get("background"),
                max_pixels=content.get("max_pixels"),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CalibrationFileError(
                f"this calibration is damaged ({type(error).__name__}: {error}); calibrate again"
            ) from error

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the calibration to ``path`` as JSON, all of it or nothing."""
        atomic_write_text(path, self.to_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Calibration:
        """Read a calibration from ``path``.

        Raises:
            CalibrationFileError: as :meth:`from_json`, naming the file.
        """
        try:
            return cls.from_json(Path(path).read_text(encoding="utf-8"))
        except (CalibrationFileError, OSError, UnicodeDecodeError) as error:
            raise CalibrationFileError(f"{path}: {error}") from error


def _frozen(values: Any, dtype: Any) -> np.ndarray[Any, Any]:
    array = np.array(values, dtype=dtype)
    array.flags.writeable = False
    return array


def _optional_float(value: Any) -> float | None:
    return None if value is None else float(value)


def _encode(qhat: Any) -> Any:
    if np.ndim(qhat):
        return [_encode(float(threshold)) for threshold in qhat]
    return qhat if math.isfinite(qhat) else str(qhat)


def _decode(qhat: Any) -> float | np.ndarray[Any, Any]:
    if isinstance(qhat, list):
        return np.array([_decode(threshold) for threshold in qhat], dtype=np.float64)
    threshold = float(qhat)
    if math.isnan(threshold):
        raise ValueError("qhat is NaN")
    return threshold
