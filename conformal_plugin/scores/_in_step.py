"""Names that come in step with images: ids, and the groups that images belong to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from conformal_plugin.errors import InputTypeError, OptionError, ShapeError

__all__ = ["GroupLabels", "InStep", "group_labels"]


class InStep:
    """One name per image, as text, taken as the images come.

    Args:
        names: one per image.
        what: what they are, for messages.

    Raises:
        InputTypeError: ``names`` is no iterable, or one string.
    """

    def __init__(self, names: Any, what: str) -> None:
        if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
            raise InputTypeError(
                f"{what}s must be an iterable with one {what} per image, got "
                f"{type(names).__name__}; for a single image pass [{what}]"
            )
        self._names = iter(names)
        self._what = what
        self._taken = 0

    def take(self, count: int) -> list[str]:
        """The names of the next ``count`` images.

        Raises:
            ShapeError: there are fewer.
        """
        names = [str(name) for name in islice(self._names, count)]
        self._taken += len(names)
        if len(names) < count:
            raise ShapeError(
                f"{self._what}s ended after {self._taken} while images went on: pass one "
                f"{self._what} per image, in the same order"
            )
        return names

    def end(self) -> None:
        """Check that no name is left.

        Raises:
            ShapeError: one is.
        """
        if next(self._names, None) is not None:
            raise ShapeError(
                f"there are more {self._what}s than the {self._taken} images: pass one "
                f"{self._what} per image, in the same order"
            )


class GroupLabels:
    """The group of each image: one label per image in step, or a mapping from id to group.

    Args:
        groups: either of these.

    Raises:
        InputTypeError: neither, or one string.
    """

    def __init__(self, groups: Any) -> None:
        mapped = isinstance(groups, Mapping)
        self._of_id = {str(name): group for name, group in groups.items()} if mapped else None
        self._in_step = None if mapped else InStep(groups, "group")

    def take(self, count: int, names: Sequence[str] | None) -> list[str]:
        """The groups of the next ``count`` images.

        Args:
            count: how many.
            names: their ids, which a mapping needs.

        Raises:
            OptionError: a mapping and no ids, an id without a group, or a group without a name.
            ShapeError: fewer groups than images.
        """
        if self._of_id is None:
            assert self._in_step is not None
            labels = self._in_step.take(count)
        else:
            labels = [str(self._of_id[name]) for name in self._known(names)]
        if "" in labels or "None" in labels:  # as a table's empty cell comes
            raise OptionError(
                "an image has no group (None, or an empty name); give an image that is alone a "
                "group of its own, for instance its id"
            )
        return labels

    def end(self) -> None:
        """Check that no group is left, where they came in step.

        Raises:
            ShapeError: one is.
        """
        if self._in_step is not None:
            self._in_step.end()

    def _known(self, names: Sequence[str] | None) -> Sequence[str]:
        assert self._of_id is not None
        if names is None:
            raise OptionError(
                "groups by id need the images' ids: pass ids=, or one group per image in step"
            )
        missing = [name for name in names if name not in self._of_id]
        if missing:
            raise OptionError(
                f"{len(missing)} ids have no group, {missing[0]!r} for one; name the group of "
                f"every image, that of an image that is alone being its id"
            )
        return names


def group_labels(groups: Any, count: int, ids: Sequence[Any] | None = None) -> list[str]:
    """The groups of ``count`` images, of either form.

    Args:
        groups: one label per image, or a mapping from id to group.
        count: how many images there are.
        ids: their ids, which a mapping needs.

    Raises:
        InputTypeError, OptionError, ShapeError: as :class:`GroupLabels`.
    """
    labels = GroupLabels(groups)
    found = labels.take(count, None if ids is None else [str(name) for name in ids])
    labels.end()
    return found
