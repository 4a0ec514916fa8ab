"""The ways to label that are compared: thresholds, rule, background and alpha."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = [
    "CLASS_CONDITIONAL",
    "MIN_IMAGES",
    "POOLED",
    "Family",
    "Grid",
    "families",
]

POOLED, CLASS_CONDITIONAL = "pixel", "class-conditional"
"""Names of the guarantees whose thresholds are compared."""

MIN_IMAGES = 5
"""Images that a class must be held by for a threshold of its own."""


@dataclass(frozen=True)
class Family:
    """Ways that differ in alpha alone.

    Attributes:
        thresholds: ``POOLED`` or ``CLASS_CONDITIONAL``.
        rule: how a label is picked from a prediction set.
        background: of the rule foreground-first, and recorded with the others; None where no class
            is one.
    """

    thresholds: str
    rule: str
    background: int | None


@dataclass(frozen=True)
class Grid:
    """All ways but the raw annotator, which comes last.

    Attributes:
        alphas: of the pooled thresholds, descending.
        class_alphas: of the class-conditional ones, descending.
        pooled: families with one threshold for all classes.
        by_class: families with one per class.
    """

    alphas: Sequence[float]
    class_alphas: Sequence[float]
    pooled: Sequence[Family]
    by_class: Sequence[Family]

    def __iter__(self) -> Iterator[tuple[Family, float]]:
        """Every way, in the order in which labels are counted."""
        for some, alphas in ((self.pooled, self.alphas), (self.by_class, self.class_alphas)):
            for family in some:
                for alpha in alphas:
                    yield family, alpha

    @property
    def size(self) -> int:
        """How many ways there are, with the raw annotator."""
        return len(self.pooled) * len(self.alphas) + len(self.by_class) * len(self.class_alphas) + 1


def families(
    rules: Sequence[str], background: int | None, num_classes: int
) -> tuple[list[Family], list[Family]]:
    """The families with one threshold, and with one per class.

    Where there are two classes, either can be the one that is taken only when it is alone: which of
    them the annotator over-calls is not known. Without a background there is no foreground-first.
    """
    pooled: list[Family] = []
    for rule in rules:
        if rule != "foreground-first":
            pooled.append(Family(POOLED, rule, background))
            continue
        if background is not None:
            pooled.append(Family(POOLED, rule, background))
            if num_classes == 2:
                pooled.append(Family(POOLED, rule, 1 - background))
    by_class = [Family(CLASS_CONDITIONAL, f.rule, f.background) for f in pooled]
    # Foreground-first asks for one bet on the background too many where each class has its own.
    return pooled, [family for family in by_class if family.rule != "foreground-first"]
