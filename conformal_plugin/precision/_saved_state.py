"""What a precision calibrator has counted, as plain arrays and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from conformal_plugin._choices import OF
from conformal_plugin.precision._bet_order import groups_of, seen_at, stacked
from conformal_plugin.precision._path import ThresholdPath
from conformal_plugin.precision._path_counts import ImageCounts

__all__ = ["SavedState", "versions_of"]

_FIRST_STATE, _STATE_VERSION = 1, 2
_GROUPED_STATE_VERSION = 3
"""Of states with groups, which a release that knows none must not read."""
_PATH_PARTS = ("background", "foreground", "starts", "shares", "caps", "scouts")
_FOREGROUND = ("kept_foreground", "wrong_foreground")


def versions_of(state: Mapping[str, Any]) -> tuple[int, ...]:
    """The versions that a state which holds these arrays may have."""
    return (_GROUPED_STATE_VERSION,) if "group" in state else (_FIRST_STATE, _STATE_VERSION)


@dataclass(frozen=True)
class SavedState:
    """What a calibrator goes on from.

    Attributes:
        options: the arguments that it was made with, but for the path.
        path: its places.
        images: by id, in the order of arrival.
        named: whether the ids were given.
        seen: how many images came, labelled or not.
        volumes: whether they are volumes.
        looks: ids that each look saw first.
    """

    options: dict[str, Any]
    path: ThresholdPath
    images: Mapping[str, ImageCounts]
    named: bool
    seen: int
    volumes: bool
    looks: Sequence[frozenset[str]]

    def arrays(self, kind: str) -> dict[str, np.ndarray[Any, Any]]:
        """What ``numpy.savez`` stores without pickling; ``kind`` names the class."""
        images = list(self.images.values())
        columns = {
            name: np.array([getattr(image, name) for image in images], dtype=np.int64)
            for name in ("kept", "wrong", "classes", "area")
        }
        foreground = {name: stacked(images, name) for name in _FOREGROUND}
        columns |= {name: column for name, column in foreground.items() if column is not None}
        groups = groups_of(images)
        if groups is not None:
            columns["group"] = np.array(groups, dtype=np.str_)
        return {
            "version": np.array(_STATE_VERSION if groups is None else _GROUPED_STATE_VERSION),
            "kind": np.array(kind),
            **{name: np.array(value) for name, value in self.options.items()},
            **{f"path_{name}": np.array(getattr(self.path, name)) for name in _PATH_PARTS},
            "named": np.array(self.named),
            "seen": np.array(self.seen),
            "volumes": np.array(self.volumes),
            "ids": np.array(list(self.images), dtype=np.str_),
            **self._looks(),
            **columns,
        }

    def _looks(self) -> dict[str, np.ndarray[Any, Any]]:
        """At which look each image was seen first, -1 for none; nothing without looks."""
        if not self.looks:
            return {}
        at = seen_at(self.looks)
        return {"look": np.array([at.get(name, -1) for name in self.images], dtype=np.int64)}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> SavedState:
        """What :meth:`arrays` wrote; anything may be raised where it is damaged."""
        ids = np.asarray(state["ids"])
        looks = np.asarray(state.get("look", []), dtype=np.int64)
        return cls(
            options={
                "rule": str(state["rule"]),
                "background": int(state["background"]),
                "ignore_index": int(state["ignore_index"]),
                # States of release 0.1.0 know no part of the labels, and no caps below.
                "of": str(state["of"]) if "of" in state else OF[0],
            },
            path=_path_of(state),
            images=_images_of(state),
            named=bool(state["named"]),
            seen=int(state["seen"]),
            volumes=bool(state.get("volumes", False)),
            looks=[
                frozenset(str(name) for name in ids[looks == number])
                for number in range(int(looks.max(initial=-1)) + 1)
            ],
        )


def _path_of(state: Mapping[str, Any]) -> ThresholdPath:
    parts: dict[str, Any] = {
        name: np.asarray(state[f"path_{name}"]).tolist()
        for name in _PATH_PARTS
        if f"path_{name}" in state
    }
    return ThresholdPath(
        background=np.array(parts["background"]),
        foreground=np.array(parts["foreground"]),
        starts=tuple(parts["starts"]),
        shares=tuple(parts["shares"]),
        caps=np.array(parts.get("caps", np.ones(len(parts["background"])))),
        scouts=int(parts.get("scouts", 0)),
    )


def _images_of(state: Mapping[str, Any]) -> dict[str, ImageCounts]:
    # States of release 0.1.0 do not know the foreground.
    known = [name for name in ("kept", "wrong", "classes", *_FOREGROUND) if name in state]
    columns = zip(*(np.asarray(state[name]) for name in known))
    groups = state["group"] if "group" in state else [None] * len(state["ids"])
    return {
        str(name): ImageCounts(
            **dict(zip(known, row)), area=int(area), group=None if group is None else str(group)
        )
        for name, area, group, row in zip(state["ids"], np.asarray(state["area"]), groups, columns)
    }
