"""Images that come more than once, found by id and counted once.

Hosts repeat the labelled ids until there are as many as unlabelled ones, and distributed samplers
pad the last batch. Calibrating on repeats pretends to more images than there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from conformal_plugin.errors import OptionError
from conformal_plugin.scores._in_step import GroupLabels, InStep
from conformal_plugin.scores._inputs import LabelledScores, labelled_images

__all__ = ["SeenIds"]


@dataclass
class SeenIds:
    """The ids of the images counted so far, and how many repeats were left out."""

    seen: set[str] = field(default_factory=set)
    repeats: int = 0

    def first_of_each(
        self,
        scores: Any,
        labels: Any,
        ids: Iterable[Any] | None,
        known: Iterable[str] = (),
        groups: Any = None,
    ) -> Iterator[LabelledScores]:
        """The images (or points) whose id is met for the first time; all where ``ids`` is None.

        Args:
            scores, labels: as in :func:`conformal_plugin.calibrate`.
            ids: one per image, in step; compared as text.
            known: ids that count as met before.
            groups: one per image, in step, or a mapping from id to group; None for no groups.

        Raises:
            InputTypeError: ``ids`` or ``groups`` is no iterable, or one string.
            OptionError: an image without a group.
            ShapeError: more or fewer ids or groups than images.
        """
        if ids is None and groups is None:
            yield from labelled_images(scores, labels)
            return
        names_in_step = None if ids is None else InStep(ids, "id")
        groups_in_step = None if groups is None else GroupLabels(groups)
        before = set(known)
        for item in labelled_images(scores, labels):
            count = item.scores.shape[1] if item.points else 1
            names = None if names_in_step is None else names_in_step.take(count)
            belongs = None if groups_in_step is None else groups_in_step.take(count, names)
            new = [names is None or self._is_new(names[i], before) for i in range(count)]
            yield from _parts(item, new, names, belongs)
        for in_step in (names_in_step, groups_in_step):
            if in_step is not None:
                in_step.end()

    def merge(self, other: SeenIds) -> None:
        """Add the ids of ``other``.

        Raises:
            OptionError: an id that both have, because its counts can no longer be told apart.
        """
        both = self.seen & other.seen
        if both:
            shown = ", ".join(map(repr, sorted(both)[:8]))
            raise OptionError(
                f"{len(both)} images were counted on both sides of a merge, {shown} among them: "
                f"give each image to one calibrator, for instance id number i to process "
                f"i % processes"
            )
        self.seen |= other.seen
        self.repeats += other.repeats

    def _is_new(self, name: str, before: set[str]) -> bool:
        if name in self.seen or name in before:
            self.repeats += 1
            return False
        self.seen.add(name)
        return True


def _parts(
    item: LabelledScores, new: list[bool], names: list[str] | None, groups: list[str] | None
) -> Iterator[LabelledScores]:
    """What is new of an image or of separate points, these group by group."""
    if not item.points:
        if new[0]:
            name, group = (None if each is None else each[0] for each in (names, groups))
            yield replace(item, name=name, group=group)
        return
    for group in (None,) if groups is None else tuple(dict.fromkeys(groups)):
        of_group = [True] * len(new) if groups is None else [other == group for other in groups]
        mine = [fresh and here for fresh, here in zip(new, of_group)]
        if all(mine):
            yield replace(item, group=group)
        elif any(mine):
            kept = torch.tensor(mine, device=item.scores.device)
            yield replace(item, scores=item.scores[:, kept], labels=item.labels[kept], group=group)
