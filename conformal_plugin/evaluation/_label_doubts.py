"""Whether true labels look as if they were read wrongly: their values, and how scores fit them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from conformal_plugin.evaluation._turned_labels import TurnedLabels
from conformal_plugin.scores import (
    LabelledParts,
    LabelMap,
    ScoreParts,
    labelled_images,
    to_tensor,
)

__all__ = ["LabelDoubts", "label_doubts"]

_PIXELS_AN_IMAGE, _PIXELS_A_VOLUME = 2**12, 2**15
"""As many are compared; the doubts are about whole images, and what a volume shows is small."""
_FAR_BETTER: Final = 0.2
"""By how much of the pixels another reading must fit better than the one that was taken."""
_CITYSCAPES: Final = 19
_PAIRS: Final = 12


class LabelDoubts:
    """Collects what speaks against the labels of a data set, image by image.

    Args:
        ignore_index: the label of pixels without a class.
    """

    def __init__(self, ignore_index: int = 255) -> None:
        self._ignore_index = ignore_index
        self._held: dict[int, int] = {}
        self._turned = TurnedLabels(ignore_index)
        self._volumes = False
        self._images: set[str] = set()
        # Most probable class by true label; the last row is for labels one above the classes.
        self._fit: np.ndarray[Any, Any] | None = None

    def has_seen(self, name: str) -> bool:
        """Whether an image was looked at."""
        return name in self._images

    def look(self, name: str, scores: Any, labels: Any) -> None:
        """Take an image into account, once.

        Args:
            name: its id.
            scores: ``(K, H, W)``, or one volume ``(1, K, D, H, W)``; or what reads one image or
                volume part by part.
            labels: ``(H, W)``, or ``(D, H, W)`` or a batch of one of these.
        """
        if self.has_seen(name):
            return
        truth = to_tensor(labels, "labels").cpu().numpy()
        truth = truth[0] if truth.ndim == 4 else truth
        if not isinstance(scores, ScoreParts):
            scores = to_tensor(scores, "scores")
            scores = scores[0] if scores.ndim == 5 else scores
        num_classes, *size = scores.shape
        if truth.ndim not in (2, 3) or truth.shape != tuple(size):
            return  # another step says so
        self._images.add(name)
        self._volumes |= truth.ndim == 3
        if truth.dtype == np.uint8:  # many times as fast as sorting
            counts = np.bincount(truth.ravel())
            values = np.flatnonzero(counts)
            counts = counts[values]
        else:
            values, counts = np.unique(truth, return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist()):
            self._held[value] = self._held.get(value, 0) + count
        enough = _PIXELS_AN_IMAGE if truth.ndim == 2 else _PIXELS_A_VOLUME
        step = max(1, int((truth.size / enough) ** (1 / truth.ndim)))
        likely = _most_probable(scores, step)
        self._compare(likely, truth[_each(step, truth.ndim)], num_classes)
        self._turned.look(name, likely, truth, step)

    @classmethod
    def of_ranks(cls, parts: Sequence[LabelDoubts]) -> LabelDoubts:
        """What all ranks have seen together."""
        total = cls(parts[0]._ignore_index)
        for part in parts:
            for value, count in part._held.items():
                total._held[value] = total._held.get(value, 0) + count
            total._turned.merge(part._turned)
            total._volumes |= part._volumes
            total._images |= part._images
            if part._fit is not None:
                total._fit = part._fit if total._fit is None else total._fit + part._fit
        return total

    def found(self) -> list[str]:
        """What looks wrong, each with what mends it; nothing where all is well."""
        renumbered = self._renumbered() or self._in_another_order()
        # Under wrong numbers another turn may fit better by chance.
        turned = "" if renumbered else self._turned.found(len(self._images), self._volumes)
        return [text for text in (self._one_class(), renumbered, turned) if text]

    def _compare(self, likely: Any, truth: Any, num_classes: int) -> None:
        if self._fit is None:
            self._fit = np.zeros((num_classes + 1, num_classes), dtype=np.int64)
        if self._fit.shape[1] != num_classes:  # another step says so
            return
        known = (truth >= 0) & (truth <= num_classes) & (truth != self._ignore_index)
        places = truth[known].astype(np.int64) * num_classes + likely[known]
        self._fit += np.bincount(places, minlength=self._fit.size).reshape(self._fit.shape)

    def _one_class(self) -> str:
        classes = self._held.keys() - {self._ignore_index}
        if len(classes) != 1 or self._fit is None:
            return ""
        (only,) = classes
        if self._ignore_index not in self._held:
            return (
                f"the true labels hold class {only} alone, in all {len(self._images)} images: is "
                f"that all there is to learn?"
            )
        return (
            f"the true labels hold {only} and {self._ignore_index} alone, and {self._ignore_index} "
            f"is ignored: one class is left, and nothing measured here says anything. If "
            f"{self._ignore_index} is a class, as in masks of 0 and 255, {_pass('binary')}"
        )

    def _renumbered(self) -> str:
        """Whether labels fit far better under other numbers."""
        if self._fit is None or self._fit.shape[1] < 3:
            return ""
        classes = self._fit.shape[1]
        readings = {
            "reduce-zero-label": {label: label - 1 for label in range(1, classes + 1)},
            "one-more": {label: label + 1 for label in range(classes - 1)},
        }
        if classes == _CITYSCAPES:
            ids = np.arange(classes)
            to_train = LabelMap.of("cityscapes")(ids, -1)
            readings["cityscapes"] = {int(i): int(t) for i, t in zip(ids, to_train) if t >= 0}
        pixels = self._fit.sum(axis=1)
        for name, reading in readings.items():
            labels = [label for label in reading if pixels[label]]
            as_read, otherwise = (
                np.array([self._fit[label, of] / pixels[label] for label, of in pairs])
                for pairs in (
                    [(label, min(label, classes - 1)) for label in labels],
                    [(label, reading[label]) for label in labels],
                )
            )
            better = otherwise > as_read
            if better.sum() < 2 or better.mean() <= 0.5:
                continue
            before, after = float(as_read.mean()), float(otherwise.mean())
            if after >= max(before + _FAR_BETTER, 2 * before):
                return _renumbering(name, before, after)
        return ""

    def _in_another_order(self) -> str:
        """Whether each label fits another class of its own far better."""
        if self._fit is None:
            return ""
        fit = self._fit[:-1]
        labels = np.flatnonzero(fit.sum(axis=1))
        shares = fit[labels] / fit[labels].sum(axis=1, keepdims=True)
        best = _one_each(shares)
        moved = best != labels
        before = float(shares[range(len(labels)), labels].mean())
        after = float(shares[range(len(labels)), best].mean())
        if moved.sum() < 2 or after < max(before + _FAR_BETTER, 2 * before):
            return ""
        pairs = [f"{label}={c}" for label, c in zip(labels, best)]
        entries = ",".join(pairs) if len(pairs) <= _PAIRS else "FILE.json"
        changed = [f"{label} as {c}" for label, c in zip(labels[moved], best[moved])][:_PAIRS]
        return (
            f"the true labels fit the maps far better if their classes are in another order "
            f"({', '.join(changed)}): the most probable class is then right for "
            f"{100 * after:.0f} % of a class's pixels on average, and for {100 * before:.0f} % as "
            f"they were read. Give the annotator the masks' class list, or pass --label-map "
            f"{entries}"
        )


def label_doubts(
    scores: Any, labels: Any, *, ids: Sequence[str] | None = None, ignore_index: int = 255
) -> list[str]:
    """Ask whether true labels look as if they were read wrongly, by how scores fit them.

    What ``calibrate``, ``evaluate``, ``choose`` and ``report`` warn of on the command line: labels
    of one class alone, as masks of 0 and 255 are; labels that fit far better one less, one more, or
    as ids of Cityscapes; and labels that fit far better turned, mirrored or with axes exchanged.

    Args:
        scores: class scores as in :func:`conformal_plugin.calibrate`.
        labels: true classes.
        ids: the images' names, for what is said; None for their numbers.
        ignore_index: the label of pixels without a class.

    Returns:
        What looks wrong, a few sentences each, with what mends it; nothing where all is well.

    Raises:
        InputTypeError, ShapeError: bad scores or labels.

    Example:
        >>> import numpy as np
        >>> scores = np.full((4, 2, 8, 8), 0.5, dtype=np.float32)
        >>> masks = np.full((4, 8, 8), 255, dtype=np.uint8)
        >>> masks[:, :4] = 0
        >>> [doubt[:43] for doubt in label_doubts(scores, masks)]
        ['the true labels hold 0 and 255 alone, and 2']
    """
    doubts = LabelDoubts(ignore_index)
    for number, item in enumerate(labelled_images(scores, labels)):
        if item.points:  # which are no image
            continue
        name = str(number) if ids is None else ids[number]
        if isinstance(item, LabelledParts) and item.source is not None:
            doubts.look(name, item.source, item.labels.reshape(item.source.shape[1:]))
        else:
            doubts.look(name, *item.arrays)
    return doubts.found()


def _most_probable(scores: Any, step: int) -> np.ndarray[Any, Any]:
    """The most probable class of each ``step``-th pixel along each axis."""
    parts = scores.parts() if isinstance(scores, ScoreParts) else (scores,)
    found, top = [], 0
    for part in parts:
        places = (slice(None), *_each(step, part.ndim - 1, top))
        some = to_tensor(part, "scores")[places]
        found.append(some.float().argmax(0).cpu().numpy())
        top += part.shape[1]
    return np.concatenate(found)


def _each(step: int, axes: int, top: int = 0) -> tuple[slice, ...]:
    """Each ``step``-th place along each axis, where ``top`` lie before along the first."""
    return (slice(-top % step, None, step), *[slice(None, None, step)] * (axes - 1))


def _one_each(shares: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """For each row a column of its own, the largest shares first."""
    chosen = np.full(len(shares), -1)
    taken = np.zeros(shares.shape[1], dtype=bool)
    for place in np.argsort(-shares, axis=None, kind="stable"):
        row, column = divmod(int(place), shares.shape[1])
        if chosen[row] < 0 and not taken[column]:
            chosen[row], taken[column] = column, True
    return chosen


def _pass(label_map: str) -> str:
    return f'pass --label-map {label_map} (in Python LabelMap.of("{label_map}"))'


def _renumbering(name: str, before: float, after: float) -> str:
    how = {
        "reduce-zero-label": "one less, as where classes are counted from 1 and 0 is void",
        "cityscapes": "ids of Cityscapes, which are no trainIds",
    }.get(name, "one more, as where maps have a background first that masks do not count")
    return (
        f"the true labels fit the maps far better if they are {how}: the most probable class is "
        f"then right for {100 * after:.0f} % of a class's pixels on average, and for "
        f"{100 * before:.0f} % as they were read; if so {_pass(name)}"
    )
