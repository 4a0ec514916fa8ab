"""Which photos to label next: a random part that may calibrate, and a chosen part that may not."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from conformal_plugin.errors import OptionError

__all__ = ["NextPhotos", "next_photos"]


@dataclass(frozen=True)
class NextPhotos:
    """Photos to label.

    Attributes:
        for_calibration: drawn at random, and so exchangeable with those that stay unlabelled.
        for_training: those that the annotator is least sure of. Their scores chose them, so that
            they are like no others: never calibrate or test on them.
    """

    for_calibration: tuple[str, ...]
    for_training: tuple[str, ...]


def next_photos(
    ids: Sequence[str],
    *,
    for_calibration: int,
    for_training: int = 0,
    sureness: Mapping[str, float] | None = None,
    groups: Mapping[str, str] | None = None,
    seed: int = 0,
) -> NextPhotos:
    """Choose photos to label next, without losing any promise.

    A calibration promises something for images that are exchangeable with its own. Photos that were
    chosen by their scores are not: the annotator is worse on them than on others, or better. So the
    photos for calibration are drawn at random, by a hash of ``seed`` and id, which knows nothing of
    any score, and *before* the others: photos for training are the least sure of what is left.

    Args:
        ids: of the unlabelled photos.
        for_calibration: how many to draw at random; of groups, with ``groups``.
        for_training: how many of the least sure.
        sureness: of each photo, for instance the mean score of its pixels' most probable class;
            needed for a part for training.
        groups: the group of each photo, where they come in groups: whole groups are then drawn, and
            no photo of theirs is left for training.
        seed: another seed draws others. Fix it before looking at any result.

    Raises:
        OptionError: more photos than there are, a negative number, or no sureness where it is
            needed.

    Example:
        >>> ids = [f"photo{i}" for i in range(8)]
        >>> sure = {name: i / 8 for i, name in enumerate(ids)}
        >>> chosen = next_photos(ids, for_calibration=3, for_training=2, sureness=sure)
        >>> chosen.for_calibration, chosen.for_training
        (('photo4', 'photo7', 'photo3'), ('photo0', 'photo1'))
    """
    names = list(dict.fromkeys(ids))
    units = names if groups is None else list(dict.fromkeys(groups[name] for name in names))
    what = "photos" if groups is None else "groups"
    if for_calibration < 0 or for_training < 0 or for_calibration > len(units):
        raise OptionError(
            f"there are {len(units)} unlabelled {what}, and {for_calibration} are to be drawn for "
            f"calibration and {for_training} photos chosen for training; ask for as many as there "
            f"are"
        )
    drawn = set(sorted(units, key=lambda unit: _hash(seed, unit))[:for_calibration])
    mine = [name for name in names if (name if groups is None else groups[name]) in drawn]
    mine.sort(key=lambda name: _hash(seed, name))
    left = [name for name in names if (name if groups is None else groups[name]) not in drawn]
    if for_training > len(left):
        raise OptionError(
            f"{len(left)} photos are left after the draw for calibration, and {for_training} are "
            f"to be chosen for training; ask for as many as there are"
        )
    if for_training and sureness is None:
        raise OptionError("photos for training are chosen by sureness; pass that of each")
    if sureness is not None:
        left.sort(key=lambda name: sureness[name])
    return NextPhotos(tuple(mine), tuple(left[:for_training]))


def _hash(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\n{name}".encode()).digest()
