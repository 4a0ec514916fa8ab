"""Counted images as rows, in the order in which they are bet on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from conformal_plugin.betting import betting_order
from conformal_plugin.errors import OptionError
from conformal_plugin.precision._path_counts import ImageCounts, PathCounts

__all__ = ["groups_of", "rows_to_bet_on", "seen_at", "stacked"]


def rows_to_bet_on(
    images: Mapping[str, ImageCounts], looks: Sequence[frozenset[str]]
) -> PathCounts:
    """All images, look by look, and in each in the order of a hash of the ids.

    Where images come in groups, groups are in the order of a hash of their names.

    Args:
        images: by id, one or more, in the order of arrival.
        looks: ids that each look saw first; those of none come last.

    Raises:
        OptionError: a group has images from before and after a look.
    """
    arrived = list(images)
    hashed = [arrived[i] for i in betting_order(arrived)]
    if (of_each := groups_of([images[name] for name in hashed])) is not None:
        # By the groups' own names: in the order of their images, large groups would come first.
        hashed = [hashed[i] for i in betting_order(of_each)]
    at = seen_at(looks)
    names = sorted(hashed, key=lambda name: at.get(name, len(looks)))
    _require_closed_groups(names, at, images)
    rows = [images[name] for name in names]
    return PathCounts(
        ids=tuple(names),
        kept=np.stack([image.kept for image in rows]),
        wrong=np.stack([image.wrong for image in rows]),
        pixels=np.array([int(image.classes.sum()) for image in rows], dtype=np.int64),
        areas=np.array([image.area for image in rows], dtype=np.int64),
        classes=np.stack([image.classes for image in rows]),
        groups=groups_of(rows),
        kept_foreground=stacked(rows, "kept_foreground"),
        wrong_foreground=stacked(rows, "wrong_foreground"),
    )


def seen_at(looks: Sequence[frozenset[str]]) -> dict[str, int]:
    """At which look each image was seen first."""
    return {name: number for number, look in enumerate(looks) for name in look}


def groups_of(images: Sequence[ImageCounts]) -> tuple[str, ...] | None:
    """The groups of images that have any."""
    groups = tuple(image.group for image in images if image.group is not None)
    return groups if len(groups) == len(images) > 0 else None


def stacked(images: Sequence[ImageCounts], name: str) -> np.ndarray[Any, Any] | None:
    """One row per image; None without images, or where one of them does not know."""
    rows = [getattr(image, name) for image in images]
    return np.stack(rows) if rows and not any(row is None for row in rows) else None


def _require_closed_groups(
    names: Sequence[str], at: Mapping[str, int], images: Mapping[str, ImageCounts]
) -> None:
    """A group that was bet on is as it was: no image of it may come at a later look."""
    first: dict[str, int | None] = {}
    for name in names:
        group = images[name].group
        if group is not None and first.setdefault(group, at.get(name)) != at.get(name):
            raise OptionError(
                f"the group {group!r} has images from before and after a look; label whole groups, "
                f"or leave the later ones out"
            )
