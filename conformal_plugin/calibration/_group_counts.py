"""What images of one group (a video, a patient, the tiles of a scene) have counted together.

The group is then the exchangeable unit, and its loss is the mean of its images' losses, which is
known only when all of them have come. So each group keeps the sum of its images' credits by score
code, where it is not zero, and how many they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformal_plugin.calibration._units import capped_lcm

__all__ = ["GroupCounts", "GroupPart"]

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class GroupPart:
    """A group's counts in one row.

    Attributes:
        codes: int64, score codes at which its images gain credit, ascending.
        gains: int64, that credit, in step.
        images: how many images it has in the row; separate points are images.
        pixels: how many pixels these have.
        size_lcm: a common multiple of their pixels, see :func:`capped_lcm`.
    """

    codes: Array
    gains: Array
    images: int
    pixels: int
    size_lcm: int

    def plus(self, other: GroupPart) -> GroupPart:
        """The counts of both."""
        codes, places = np.unique(np.append(self.codes, other.codes), return_inverse=True)
        gains = np.zeros(len(codes), dtype=np.int64)
        np.add.at(gains, places.ravel(), np.append(self.gains, other.gains))
        return GroupPart(
            codes,
            gains,
            self.images + other.images,
            self.pixels + other.pixels,
            capped_lcm(self.size_lcm, other.size_lcm),
        )

    def covered(self, code: int) -> int:
        """The credit of the codes from ``code`` up."""
        return int(self.gains[np.searchsorted(self.codes, code) :].sum())


class GroupCounts:
    """The counts of all groups so far; merging adds up groups of one name, exact in any order."""

    def __init__(self) -> None:
        self._parts: dict[str, dict[int, GroupPart]] = {}
        self._holds: dict[str, Array] = {}

    def __len__(self) -> int:
        return len(self._holds)

    @property
    def groups_per_class(self) -> Array:
        """int64 ``(K,)``: in how many groups an image holds the class."""
        return np.asarray(np.stack(list(self._holds.values())).sum(axis=0, dtype=np.int64))

    def hold(self, group: str, present: Array) -> None:
        """Take note of the classes ``(K,)`` that an image of ``group`` holds."""
        self._holds[group] = present | self._holds.get(group, np.zeros_like(present))

    def add(self, group: str, row: int, part: GroupPart) -> None:
        """Add what images of ``group`` have counted in a row."""
        rows = self._parts.setdefault(group, {})
        rows[row] = rows[row].plus(part) if row in rows else part

    def merge(self, other: GroupCounts) -> None:
        """Add the counts of ``other``."""
        for group, present in other._holds.items():
            self.hold(group, present)
        for group, row, part in other.parts():
            self.add(group, row, part)

    def parts(self) -> Iterator[tuple[str, int, GroupPart]]:
        """Every group's counts in every row: group, row, counts."""
        for group, rows in self._parts.items():
            for row, part in rows.items():
                yield group, row, part

    def of(self, group: str, row: int) -> GroupPart | None:
        """A group's counts in a row; None where it has none."""
        return self._parts.get(group, {}).get(row)

    def state(self) -> dict[str, Array]:
        """The counts as plain arrays; nothing where there are no groups."""
        if not self._holds:
            return {}
        names = list(self._holds)
        number = {name: i for i, name in enumerate(names)}
        parts = list(self.parts())
        facts = [
            (number[group], row, part.images, part.pixels, part.size_lcm, len(part.codes))
            for group, row, part in parts
        ]
        empty = np.zeros(0, dtype=np.int64)
        return {
            "groups": np.array(names, dtype=np.str_),
            "groups_hold": np.stack(list(self._holds.values())),
            "group_parts": np.array(facts, dtype=np.int64).reshape(-1, 6),
            "group_codes": np.concatenate([empty, *(part.codes for _, _, part in parts)]),
            "group_gains": np.concatenate([empty, *(part.gains for _, _, part in parts)]),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> GroupCounts:
        """The counts that :meth:`state` returned; none where a state knows of no groups."""
        counts = cls()
        if "groups" not in state:
            return counts
        names = [str(name) for name in state["groups"]]
        for name, present in zip(names, np.asarray(state["groups_hold"], dtype=bool)):
            counts.hold(name, present)
        codes = np.asarray(state["group_codes"], dtype=np.int64)
        gains = np.asarray(state["group_gains"], dtype=np.int64)
        start = 0
        for number, row, images, pixels, size_lcm, length in np.asarray(
            state["group_parts"], dtype=np.int64
        ).tolist():
            end = start + length
            if not 0 <= start <= end <= len(codes) == len(gains):
                raise ValueError("its groups do not fit their counts")
            part = GroupPart(codes[start:end], gains[start:end], images, pixels, size_lcm)
            counts.add(names[number], row, part)
            start = end
        return counts
