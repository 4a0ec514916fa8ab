"""Images that come more than once, found by id and counted once.

Hosts repeat the labelled ids until there are as many as unlabelled ones, and distributed samplers
pad the last batch. Calibrating on repeats pretends to more images than there are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from conformal_plugin.errors import InputTypeError, OptionError, ShapeError
from conformal_plugin.scores._inputs import LabelledScores, labelled_images

__all__ = ["SeenIds"]


@dataclass
class SeenIds:
    """The ids of the images counted so far, and how many repeats were left out."""

    seen: set[str] = field(default_factory=set)
    repeats: int = 0

    def first_of_each(
        self, scores: Any, labels: Any, ids: Iterable[Any] | None, known: Iterable[str] = ()
    ) -> Iterator[LabelledScores]:
        """The images (or points) whose id is met for the first time; all where ``ids`` is None.

        Args:
            scores, labels: as in :func:`conformal_plugin.calibrate`.
            ids: one per image, in step; compared as text.
            known: ids that count as met before.

        Raises:
            InputTypeError: ``ids`` is no iterable, or one string.
            ShapeError: more or fewer ids than images.
        """
        if ids is None:
            yield from labelled_images(scores, labels)
            return
        if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
            raise InputTypeError(
                f"ids must be an iterable with one id per image, got {type(ids).__name__}; for a "
                f"single image pass [id]"
            )
        before = set(known)
        remaining = iter(ids)
        images = 0
        for item in labelled_images(scores, labels):
            count = item.scores.shape[1] if item.points else 1
            names = [str(name) for _, name in zip(range(count), remaining)]
            if len(names) < count:
                raise ShapeError(
                    f"ids ended after {images + len(names)} while images went on: pass one id per "
                    f"image, in the same order"
                )
            images += count
            new = [self._is_new(name, before) for name in names]
            if all(new):
                yield item
            elif any(new):  # separate points, some of them repeated
                kept = torch.tensor(new, device=item.scores.device)
                yield replace(item, scores=item.scores[:, kept], labels=item.labels[kept])
        if next(remaining, None) is not None:
            raise ShapeError(
                f"there are more ids than the {images} images: pass one id per image, in the same "
                f"order"
            )

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
