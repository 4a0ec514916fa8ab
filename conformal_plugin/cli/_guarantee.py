"""From ``--guarantee`` and its options to a calibrator, and from its counts to calibrations."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from conformal_plugin._choices import FEW, GUARANTEES, OF, RULES, TESTS, WEIGHTINGS
from conformal_plugin.calibration import (
    Calibration,
    Calibrator,
    ClassConditionalCalibrator,
    ClassConditionalImageLevelCalibrator,
    ClusteredCalibrator,
    ConfidenceCalibrator,
    ImageLevelCalibrator,
    ImageWiseCalibrator,
    ScoreCounter,
    confidence_shortage,
    exact_alpha,
    shortage,
    slack,
)
from conformal_plugin.cli._inputs import class_or_none
from conformal_plugin.cli._looks import LookRecord
from conformal_plugin.errors import OptionError
from conformal_plugin.precision import (
    PrecisionCalibrator,
    PrecisionTarget,
    ThresholdPath,
    precision_images_needed,
)

__all__ = ["Task", "chosen"]


class Task(ABC):
    """What to count with, and what to ask of the counts.

    Attributes:
        calibrator: counts nothing yet.
        settings: what the counts depend on beside the images; plain JSON values.
        levels: the alphas or epsilons asked for, each once.
        level_name: ``"alpha"`` or ``"epsilon"``.
        record: of the looks at a growing set; None where there is one look.
    """

    level_name = "alpha"
    record: LookRecord | None = None

    def __init__(self, calibrator: Any, settings: Mapping[str, Any], levels: Iterable[float]):
        self.calibrator = calibrator
        self.settings = dict(settings)
        self.levels = list(dict.fromkeys(levels))

    @abstractmethod
    def prospects(self, images: int, unit: str) -> list[str]:
        """What is known of the results before any map is read, from the number of images.

        Args:
            images: how many there are, or how many groups of them.
            unit: ``"image"`` or ``"group"``.
        """

    @abstractmethod
    def results(
        self,
        counted: Any,
        scores: Iterable[Any],
        labels: Iterable[Any],
        ids: Sequence[str],
        groups: Mapping[str, str] | None,
    ) -> list[Calibration]:
        """A calibration per level, on every rank, from the counts of all images.

        Args:
            counted: the counts of all ranks.
            scores, labels, ids: this rank's images, which may be read again.
            groups: of the ids; None without groups.
        """


def chosen(
    arguments: argparse.Namespace,
    cluster: Callable[[float], tuple[int, ...]] | None,
    surer: Callable[[int], bool | None],
) -> Task:
    """The task that the arguments name, all its options checked.

    Args:
        arguments: of ``calibrate``.
        cluster: finds the cluster of each class for an alpha; needed for ``clustered``.
        surer: whether unlabelled maps, with this background class, are those of an annotator that
            is surer than the default path of precision expects; None if there are none.

    Raises:
        OptionError: an option of another guarantee, a missing or an impossible one.
        AlphaError: an alpha outside (0, 1).
    """
    arguments.guarantee = arguments.guarantee or GUARANTEES[0]
    _refuse_strangers(arguments)
    ignore_index = 255 if arguments.ignore_index is None else arguments.ignore_index
    if arguments.guarantee == "precision":
        return _Precision(arguments, ignore_index, surer)
    alphas = arguments.alpha or [0.05]
    for alpha in alphas:
        exact_alpha(alpha)
    few = arguments.few or FEW[0]
    settings: dict[str, Any] = {}
    calibrator: ScoreCounter
    if arguments.guarantee == "pixel":
        calibrator = Calibrator(ignore_index=ignore_index)
    elif arguments.guarantee == "image-level":
        calibrator = ImageLevelCalibrator(ignore_index=ignore_index)
    elif arguments.guarantee == "image-wise":
        settings = {"tau": 0.9 if arguments.tau is None else arguments.tau}
        calibrator = ImageWiseCalibrator(**settings, ignore_index=ignore_index)
    elif arguments.guarantee == "confidence":
        settings = {"delta": 0.1 if arguments.delta is None else arguments.delta}
        calibrator = ConfidenceCalibrator(**settings, ignore_index=ignore_index)
    elif arguments.guarantee == "class-conditional":
        settings = {"few": few, "min_images": arguments.min_images}
        calibrator = ClassConditionalCalibrator(**settings, ignore_index=ignore_index)
    elif arguments.guarantee == "class-conditional-image-level":
        settings = {"few": few}
        calibrator = ClassConditionalImageLevelCalibrator(**settings, ignore_index=ignore_index)
    else:
        if cluster is None:
            raise OptionError(
                "--guarantee clustered groups the classes on images of their own: name these with "
                "--cluster-ids LIST, and the number of groups with --clusters N"
            )
        settings = {"of_class": list(cluster(alphas[0]))}
        calibrator = ClusteredCalibrator(settings["of_class"], ignore_index=ignore_index)
    settings |= {"guarantee": arguments.guarantee, "ignore_index": ignore_index}
    background = class_or_none(arguments.background)
    if arguments.rule == "foreground-first" and background is None:
        raise OptionError(
            "--rule foreground-first needs a background class, and --background is none; name one, "
            "or take --rule most-probable"
        )
    return _Coverage(calibrator, settings, alphas, arguments.rule, background)


class _Coverage(Task):
    def __init__(
        self,
        calibrator: ScoreCounter,
        settings: Mapping[str, Any],
        alphas: Iterable[float],
        rule: str | None,
        background: int | None,
    ) -> None:
        super().__init__(calibrator, settings, alphas)
        self._rule = rule
        self._background = None if rule is None else background

    def prospects(self, images: int, unit: str) -> list[str]:
        if self.settings["guarantee"] not in _PER_IMAGE:
            return []
        told = []
        for alpha in self.levels:
            if self.settings["guarantee"] == "confidence":
                few = confidence_shortage(alpha, self.settings["delta"], images, unit)
            else:
                few = shortage(alpha, images, unit)
            if not few and self.settings["guarantee"] == "image-level":
                few = slack(alpha, images, unit)
            told += [few.strip()] if few else []
        return told

    def results(
        self,
        counted: ScoreCounter,
        scores: Iterable[Any],
        labels: Iterable[Any],
        ids: Sequence[str],
        groups: Mapping[str, str] | None,
    ) -> list[Calibration]:
        found = [
            counted.exact_result_of_ranks(scores, labels, alpha, ids=ids, groups=groups)
            for alpha in self.levels
        ]
        return [replace(one, rule=self._rule, background=self._background) for one in found]


class _Precision(Task):
    level_name = "epsilon"

    def __init__(
        self,
        arguments: argparse.Namespace,
        ignore_index: int,
        surer: Callable[[int], bool | None],
    ) -> None:
        if arguments.epsilon is None:
            raise OptionError(
                "--guarantee precision needs --epsilon, the share of kept labels that may be "
                "wrong, for instance --epsilon 0.05"
            )
        settings: dict[str, Any] = {
            "guarantee": "precision",
            "rule": arguments.rule or RULES[0],
            "background": class_or_none(arguments.background) or 0,
            "ignore_index": ignore_index,
            "of": arguments.of or OF[0],
        }
        self._options = {
            "delta": 0.1 if arguments.delta is None else arguments.delta,
            "unlabelled_images": arguments.unlabelled_images,
            "weighting": arguments.weighting or WEIGHTINGS[0],
            "max_pixels": arguments.max_pixels,
            "test": arguments.test or TESTS[0],
            "planned": arguments.planned,
        }
        if (arguments.planned is None) != (arguments.looks is None):
            raise OptionError(
                "--planned and --looks go together: how many images there will be about, and the "
                "file that remembers which of them were seen at each look"
            )
        for epsilon in arguments.epsilon:
            target = PrecisionTarget(epsilon, of=settings["of"], **self._options)
            target.check_groups(arguments.groups is not None or arguments.group_by is not None)
        options = {name: value for name, value in settings.items() if name != "guarantee"}
        usual = (settings["rule"], settings["of"]) == (RULES[0], OF[0])
        if usual and surer(settings["background"]):
            options["path"] = ThresholdPath.capped_foreground_first(surer=True)
            settings["path"] = "surer"
        calibrator = PrecisionCalibrator(**options)
        super().__init__(calibrator, settings, arguments.epsilon)
        self._path = calibrator.path
        if arguments.looks is not None:
            asked = {**settings, **self._options, "epsilon": self.levels}
            self.record = LookRecord(arguments.looks, asked)

    def prospects(self, images: int, unit: str) -> list[str]:
        told = []
        for epsilon in self.levels:
            all_kept = self._needed(epsilon, 1.0)
            try:
                half_kept = str(self._needed(epsilon, 0.5))
            except OptionError:  # more than are tried, which is no reason to refuse all
                half_kept = "far more"
            verdict = "so nothing can be kept" if images < all_kept else "each error asks for more"
            told.append(
                f"epsilon {epsilon:g} at delta {self._options['delta']:g} takes at least "
                f"{all_kept} {unit}s without a wrong label among them, where all is kept that a "
                f"cap lets through ({half_kept} where half of it is); the list has {images}, "
                f"{verdict}"
            )
        return told

    def _needed(self, epsilon: float, kept: float) -> int:
        options = {name: self._options[name] for name in ("delta", "test", "unlabelled_images")}
        return precision_images_needed(epsilon, kept=kept, path=self._path, **options)

    def results(
        self,
        counted: PrecisionCalibrator,
        scores: Iterable[Any],
        labels: Iterable[Any],
        ids: Sequence[str],
        groups: Mapping[str, str] | None,
    ) -> list[Calibration]:
        for look in self.record.looks if self.record else []:
            counted.look(look)
        return [counted.result(epsilon, **self._options) for epsilon in self.levels]


_PER_IMAGE = (
    "image-level",
    "image-wise",
    "confidence",
)  # others depend on which images hold a class
_COVERAGE = tuple(name for name in GUARANTEES if name != "precision")
_OWNERS: dict[str, tuple[str, ...]] = {
    "alpha": _COVERAGE,
    "tau": ("image-wise",),
    "delta": ("confidence", "precision"),
    "few": ("class-conditional", "class-conditional-image-level"),
    "min_images": ("class-conditional",),
    "cluster_ids": ("clustered",),
    "clusters": ("clustered",),
    **dict.fromkeys(
        (
            *("epsilon", "weighting", "max_pixels", "planned", "looks", "test"),
            *("of", "unlabelled_images"),
        ),
        ("precision",),
    ),
}


def _refuse_strangers(arguments: argparse.Namespace) -> None:
    for option, owners in _OWNERS.items():
        if getattr(arguments, option) is not None and arguments.guarantee not in owners:
            raise OptionError(
                f"--{option.replace('_', '-')} belongs to --guarantee {' or '.join(owners)}, and "
                f"this is --guarantee {arguments.guarantee}; leave it out, or change the guarantee"
            )
