"""Test images that come in groups: what is measured per image, as one observation per group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from conformal_plugin.calibration import Calibration
from conformal_plugin.errors import OptionError
from conformal_plugin.evaluation import PER_IMAGE
from conformal_plugin.scores import group_labels
from conformal_plugin.testing._failures import SameDataError

if TYPE_CHECKING:
    from conformal_plugin.evaluation import Evaluation

__all__ = ["labels_of", "require_other_groups", "require_same_unit", "summed_by_group"]


def labels_of(
    groups: Any, images: int, ids: Iterable[object] | None = None, name: str = "groups"
) -> list[str] | None:
    """The group of each measured image; None without groups.

    Raises:
        OptionError: not one per measured image.
    """
    if groups is None:
        return None
    listed = None if ids is None else list(map(str, ids))
    given = groups if isinstance(groups, Mapping) else list(groups)
    names = listed if isinstance(given, Mapping) else given
    if names is not None and len(names) != images:
        what = f"the ids that {name} names" if isinstance(given, Mapping) else name
        raise OptionError(
            f"{what} must be one per measured image in the same order, got {len(names)} for "
            f"{images} images; leave out those of images without a labelled pixel"
        )
    return group_labels(given, images, listed)


def require_other_groups(calibration: Iterable[str], test: Iterable[str]) -> None:
    """Raise where a group has images in both sets.

    Raises:
        SameDataError: one has.
    """
    __tracebackhide__ = True
    shared = tuple(sorted(set(calibration) & set(test)))
    if shared:
        raise SameDataError(
            f"{len(shared)} groups have images in the calibration set and in the test set, "
            f"{shared[0]!r} for one: images of one group are alike",
            shared,
        )


def require_same_unit(calibration: Calibration, groups: object) -> None:
    """Raise where a calibration per group is tested per image, or the other way round.

    Raises:
        OptionError: it is.
    """
    __tracebackhide__ = True
    if calibration.n_groups is not None and groups is None:
        raise OptionError(
            f"the calibration is of {calibration.n_groups} groups, whose images are not "
            f"independent; pass groups=, the group of each test image"
        )
    if calibration.n_groups is None and groups is not None:
        raise OptionError(
            "groups are given for the test images, and the calibration knows of none; calibrate "
            "with groups too"
        )


def summed_by_group(evaluation: Evaluation, groups: Sequence[str]) -> Evaluation:
    """The same measurements with a group's pixels in the place of an image's."""
    names = list(dict.fromkeys(groups))
    place = {name: i for i, name in enumerate(names)}
    places = np.array([place[group] for group in groups])
    sums: dict[str, Any] = {}
    for name in PER_IMAGE:
        values = getattr(evaluation, name)
        if values is not None:
            sums[name] = np.zeros(len(names), dtype=np.int64)
            np.add.at(sums[name], places, values)
    return replace(evaluation, **sums, image_fingerprints=None)
