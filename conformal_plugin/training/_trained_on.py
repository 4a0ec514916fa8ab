"""What an epoch was trained on: the kept share, and each class's share beside the calibration's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformal_plugin.calibration import Calibration
from conformal_plugin.errors import ShapeError
from conformal_plugin.labelling import classes_far_off

__all__ = ["TrainedOn"]

_SHOWN = 21  # classes in a line of a log; all of PASCAL VOC
_TOLD = 6  # classes in a warning
_LEFT = 1 / 3  # of what the other classes have in the labelled photos
_ALONE = 0.98  # of the labels, where nothing is known of the labelled photos


@dataclass(frozen=True)
class TrainedOn:
    """The figures of an epoch, from :meth:`~conformal_plugin.ConformalSupervision.summary`.

    Attributes:
        kept: share of the valid pixels that carried a label; None where no valid pixel was seen.
        labels: each class's share of the labels; empty where there was no label.
        labelled: each class's share of the labelled pixels that were calibrated on; None where
            that is not known.
        loss: mean of the conformal terms; None where there was none, or where it is not finite.

    Example:
        >>> summary = {"kept": 0.5, "kept_pixels_per_class": [99, 1, 0], "loss": 0.25}
        >>> print(TrainedOn.of(summary, [60, 30, 10]))
        50.0% of the unlabelled pixels carried a label; class by class, in the labels (and in the \
labelled photos): 0 99.0% (60.0%), 1 1.0% (30.0%), 2 0.0% (10.0%)
        >>> TrainedOn.of(summary, [60, 30, 10]).swallowed
        0
    """

    kept: float | None
    labels: tuple[float, ...] = ()
    labelled: tuple[float, ...] | None = None
    loss: float | None = None

    @classmethod
    def of(
        cls, summary: Mapping[str, Any], labelled: Calibration | Sequence[int] | None = None
    ) -> TrainedOn:
        """The figures of a summary.

        Args:
            summary: what :meth:`~conformal_plugin.ConformalSupervision.summary` returned.
            labelled: the calibration, or the labelled pixels of each class; None where these are
                not known.

        Raises:
            ShapeError: these are of another number of classes than the labels.
        """
        pixels = summary["kept_pixels_per_class"]
        given: Sequence[int] = ()
        if isinstance(labelled, Calibration):
            given = labelled.pixels_per_class.tolist()
        elif labelled is not None:
            given = labelled
        if given and pixels and len(given) != len(pixels):
            raise ShapeError(
                f"expected labelled pixels of each of the {len(pixels)} classes of the model, but "
                f"got {len(given)}; pass those of the calibration behind these labels"
            )
        return cls(summary["kept"], _shares(pixels), _shares(given) or None, summary.get("loss"))

    @property
    def swallowed(self) -> int | None:
        """The class that swallows the labels, None where none does.

        It is one that leaves the others less than a third of the share that these have in the
        labelled photos; where that is not known, one with 98 % of the labels.
        """
        if not self.labels:
            return None
        most = max(range(len(self.labels)), key=self.labels.__getitem__)
        others = 1 - self.labels[most]
        if self.labelled is None:
            return most if self.labels[most] >= _ALONE else None
        return most if others < _LEFT * (1 - self.labelled[most]) else None

    @property
    def far_off(self) -> tuple[int, ...]:
        """Classes with over three times, or under a third, of their share of the labelled photos.

        Those that are rare in both, below half a percent, are left out.
        """
        if not self.labels or self.labelled is None:
            return ()
        return tuple(classes_far_off(self.labels, self.labelled))

    @property
    def warned_of(self) -> frozenset[int]:
        """The classes that :meth:`warning` speaks of."""
        return frozenset(self.far_off if self.swallowed is None else [self.swallowed])

    def warning(self) -> str:
        """What to say of a class that swallows the labels, or of others that have collapsed.

        Empty where there is none.
        """
        return self._of_far_off() if self.swallowed is None else self._of_swallowed(self.swallowed)

    def _of_far_off(self) -> str:
        if not self.far_off or self.labelled is None:
            return ""
        told = ", ".join(
            f"class {c} {self.labels[c]:.1%} instead of {self.labelled[c]:.1%}"
            for c in self.far_off[:_TOLD]
        )
        more = ", ..." if len(self.far_off) > _TOLD else ""
        return (
            f"classes have another share of the labels than of the labelled photos, more than "
            f"three times as much or as little: {told}{more}. Where the photos are alike, the "
            f"labels of these are wrong or dropped: look at them with `conformal-plugin report`"
        )

    def _of_swallowed(self, most: int) -> str:
        beside = (
            "which is not compared, as the labelled photos' shares are not known"
            if self.labelled is None
            else f"and {self.labelled[most]:.1%} of the labelled pixels"
        )
        return (
            f"class {most} swallows the labels: it has {self.labels[most]:.1%} of them, {beside}. "
            f"The model will learn to see it everywhere: look at the labels with `conformal-plugin "
            f"report`, and calibrate with another alpha or rule, or check that maps and masks "
            f"number the same classes"
        )

    def scalars(self) -> dict[str, float]:
        """The figures by name, as trackers take them; what is not known is left out."""
        single = {"kept": self.kept, "loss": self.loss}
        return {
            **{name: value for name, value in single.items() if value is not None},
            **_by_class("labels", self.labels),
            **_by_class("labelled", self.labelled or ()),
        }

    def __str__(self) -> str:
        share = "no pixel" if self.kept is None else f"{self.kept:.1%} of the unlabelled pixels"
        return f"{share} carried a label{self._classes()}"

    def _classes(self) -> str:
        """The shares of the classes that occur; of many those furthest off, or the largest."""
        if not self.labels:
            return ""
        known = self.labelled

        def weight(c: int) -> float:
            return self.labels[c] if known is None else abs(self.labels[c] - known[c])

        classes = [c for c, share in enumerate(self.labels) if share or (known and known[c])]
        shown = sorted(sorted(classes, key=weight, reverse=True)[:_SHOWN])
        listed = ", ".join(
            f"{c} {self.labels[c]:.1%}" + ("" if known is None else f" ({known[c]:.1%})")
            for c in shown
        )
        which = ""
        if len(shown) < len(classes):
            which = f", the {_SHOWN} " + ("largest" if known is None else "furthest off")
        beside = "" if known is None else " (and in the labelled photos)"
        return f"; class by class{which}, in the labels{beside}: {listed}"


def _shares(pixels: Sequence[int]) -> tuple[float, ...]:
    total = sum(pixels)
    return tuple(count / total for count in pixels) if total else ()


def _by_class(name: str, shares: Sequence[float]) -> dict[str, float]:
    digits = len(str(len(shares) - 1))
    return {f"{name}/{c:0{digits}d}": share for c, share in enumerate(shares)}
