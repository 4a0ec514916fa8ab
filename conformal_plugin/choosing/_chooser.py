"""Propose alpha and the rule from the labelled images alone, each judged by the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformal_plugin._choices import ALPHAS, RULES
from conformal_plugin.calibration import Calibrator, exact_alpha
from conformal_plugin.choosing._choice import CLEARLY, Candidate, Choice, Constant
from conformal_plugin.choosing._fold_thresholds import FoldScores
from conformal_plugin.choosing._label_counts import count_labels
from conformal_plugin.choosing._measures import FoldCounts, jackknife
from conformal_plugin.choosing._wish import Wish
from conformal_plugin.errors import (
    EmptyCalibrationError,
    InputTypeError,
    OptionError,
    ShapeError,
    TooFewImagesError,
)
from conformal_plugin.labelling import check_rule
from conformal_plugin.processes import in_parallel
from conformal_plugin.scores import (
    LabelledScores,
    SeenIds,
    check_ignore_index,
    grid_of,
    read_true_scores,
    rereadable,
)

__all__ = ["choose"]


def choose(
    scores: Any,
    labels: Any,
    *,
    want_precision: float | None = None,
    want_kept: float | None = None,
    want_recall: float | None = None,
    alphas: Sequence[float] = ALPHAS,
    rules: Sequence[str] = RULES,
    classes: Sequence[int] | None = None,
    background: int = 0,
    ignore_index: int = 255,
    folds: int = 100,
    ids: Iterable[Any] | None = None,
) -> Choice:
    """Sweep alpha and the rules on the labelled images and propose one pair.

    Cross-conformal: the images are dealt to folds, and each fold is labelled at the q-hat of the
    pooled pixels of all others (:func:`conformal_plugin.calibrate`), so that no image is judged at
    a threshold that it had a say in. With at least as many folds as images that is one image at a
    time; the thresholds are then nearly those that will be used, and no luck of the deal comes in.
    The raw annotator (argmax) is a candidate too. Candidates that do not clearly beat one label for
    all pixels (more than two standard errors, in precision and in mIoU) are proposed only where
    none does, and the verdict then says that the annotator is not worth using.

    Without a wish the candidate of highest mIoU is proposed, dropped pixels being misses; of equals
    the first, rules in the order given and alphas descending.

    Args:
        scores: class scores in [0, 1] of a batch ``(N, K, H, W)`` or an iterable of ``(K, H, W)``
            that can be read more than once; kinds and dtypes as in
            :func:`conformal_plugin.calibrate`. Read twice, and float32 and float64 again for the
            proposal's exact q-hat.
        labels: true classes in step with ``scores``.
        want_precision: propose the highest mIoU among candidates whose precision, less one standard
            error, is at least this share.
        want_kept: propose the highest precision among candidates whose kept share, less one
            standard error, is at least this.
        want_recall: propose the highest mIoU among candidates whose recall (the share of the
            objects' pixels with the right label), less one standard error, is at least this.
            Objects are ``classes`` but the background. One wish at most.
        alphas: the grid.
        rules: the rules to compare, see :func:`conformal_plugin.filter`.
        classes: what the mIoU is the mean over; None for all that occur in ``labels``. Leave out
            classes too rare to measure: each counts as much as the others.
        background: index of the background class; its pixels do not count in the recall.
        ignore_index: label of pixels to leave out.
        folds: the most folds. Image i (counted from 0) goes to fold ``i % folds``. Memory grows
            with it, and standard errors come from leaving out one fold at a time.
        ids: one per image, in step; an image that comes twice is counted once.

    Returns:
        The proposal, with the table it comes from.

    Raises:
        OptionError, AlphaError: a wish, an alpha, a rule, a class or a number of folds that cannot
            be; a wanted recall where no label is an object; data that changes between readings.
        EmptyCalibrationError, TooFewImagesError: no image with a labelled pixel, or one alone.
        InputTypeError: iterators, which can be read only once; bad dtypes.
        ShapeError: separate points instead of images, and other bad shapes.
        DeviceMismatchError, ScoreError, LabelError: bad input, see :mod:`conformal_plugin.errors`.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> labels = rng.integers(0, 3, (8, 16, 16))
        >>> right = (labels[:, None] == np.arange(3)[:, None, None]).astype(np.float32)
        >>> noise = rng.random((8, 3, 16, 16), dtype=np.float32)
        >>> choice = choose(0.5 * right + 0.5 * noise, labels)
        >>> choice.worth_using, choice.rule
        (True, 'most-probable')
    """
    wish = Wish(want_precision, want_kept, want_recall)
    levels = sorted({float(exact_alpha(alpha)) for alpha in alphas}, reverse=True)
    names = tuple(dict.fromkeys(rules))
    _check_options(levels, names, folds)
    images = _Images(scores, labels, ids, ignore_index)
    calibrator = Calibrator(ignore_index=ignore_index)

    def check(num_classes: int) -> None:
        for rule in names:
            check_rule(rule, background, num_classes)
        if classes is not None:
            _check_classes(classes, num_classes)

    qhats, true = _read_thresholds(images, calibrator, levels, folds, check)
    present = _present(classes, true.sum(axis=0))
    if want_recall is not None:
        _check_objects(present, background, true.sum(axis=0))
    options = {"rules": names, "background": background, "ignore_index": ignore_index}
    counts = _with_constant(_read_labels(images, qhats, options), true, present, background)
    all_images = [calibrator.result(alpha).qhat for alpha in levels]
    proposed, fulfilled, candidates = _judge(counts, wish, names, levels, all_images)
    calibration = None
    alpha = candidates[proposed].alpha
    if alpha is not None:
        found = calibrator.exact_result(scores, labels, alpha, ids=images.ids)
        calibration = replace(found, rule=candidates[proposed].rule, background=background)
    return Choice(
        proposed=candidates[proposed],
        candidates=tuple(candidates),
        constant=_constant(counts, true),
        calibration=calibration,
        want_precision=want_precision,
        want_kept=want_kept,
        want_recall=want_recall,
        fulfilled=fulfilled,
        classes=tuple(present),
        background=background,
        n_images=calibrator.n_images,
        folds=len(true),
    )


class _Images:
    """The labelled images, each once, to be read more than once."""

    def __init__(self, scores: Any, labels: Any, ids: Iterable[Any] | None, ignore: int) -> None:
        readable = all(isinstance(value, Iterable) for value in (scores, labels))
        if readable and not rereadable(scores, labels):
            raise InputTypeError(
                "choose reads the images twice, and an iterator can be read once; pass a list, an "
                "array, or a sequence that reads files, as conformal_plugin.files.map_files gives"
            )
        self._scores = scores
        self._labels = labels
        single = isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable)
        self.ids = ids if single else list(ids)  # type: ignore[arg-type]
        self.ignore_index = ignore

    def __iter__(self) -> Iterator[LabelledScores]:
        for item in SeenIds().first_of_each(self._scores, self._labels, self.ids):
            if item.points:
                raise ShapeError(
                    f"alpha is chosen per image, and scores of shape (N, K) are separate points, "
                    f"here {tuple(item.scores.T.shape)}; pass images (K, H, W)"
                )
            yield item


def _check_options(alphas: Sequence[float], rules: Sequence[str], folds: int) -> None:
    if not alphas or not rules:
        raise OptionError("choose needs at least one alpha and one rule to compare")
    unknown = [rule for rule in rules if rule not in RULES]
    if unknown:
        raise OptionError(f"rules must be of {', '.join(RULES)}, got {unknown[0]!r}")
    if isinstance(folds, bool) or not isinstance(folds, (int, np.integer)) or folds < 2:
        raise OptionError(
            f"folds must be an integer of at least 2, got {folds!r}; with as many folds as images "
            f"each image is judged by all others"
        )


def _read_thresholds(
    images: _Images,
    calibrator: Calibrator,
    alphas: Sequence[float],
    folds: int,
    check: Callable[[int], None],
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """q-hat for each fold ``(folds, alphas)`` and its pixels by true class ``(folds, K)``.

    Only as many folds as there are images. ``calibrator`` counts all images on the way. ``check``
    is called with K before anything is read.
    """
    fold_scores: FoldScores | None = None
    true_pixels: list[np.ndarray[Any, Any]] = []

    def checked() -> Iterator[LabelledScores]:
        for item in images:
            check(item.scores.shape[0])
            yield item

    def read(item: LabelledScores) -> Any:
        grid = grid_of(item.scores)
        check_ignore_index(images.ignore_index, item.scores.shape[0])
        return grid, read_true_scores(item, images.ignore_index, grid)

    counted = 0
    for item, result in in_parallel(read, checked()):
        with item.named():
            grid, true = result()
            calibrator.update(item.scores, item.labels)
        if not true.pixels.any():
            continue
        fold = counted % folds
        if fold_scores is None:
            fold_scores = FoldScores(grid, folds)
        fold_scores.add(fold, true)
        if counted < folds:
            true_pixels.append(np.zeros_like(true.pixels))
        true_pixels[fold] += true.pixels
        counted += 1
    if fold_scores is None:
        raise EmptyCalibrationError(
            f"no image holds a labelled pixel: every label is {images.ignore_index} or nothing was "
            f"passed; check ignore_index and that the label files are not blank"
        )
    if counted < 2:
        raise TooFewImagesError(
            "choose judges each image by the others, and there is one alone; label more images"
        )
    return fold_scores.qhats(alphas)[: len(true_pixels)], np.stack(true_pixels)


def _read_labels(
    images: _Images, qhats: np.ndarray[Any, Any], options: dict[str, Any]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Labels and right ones of every candidate by fold, ``(folds, candidates, K)`` each."""
    folds = len(qhats)
    sums: list[list[np.ndarray[Any, Any]]] = []

    def labelled() -> Iterator[tuple[int, LabelledScores]]:
        counted = 0
        for item in images:
            if bool((item.labels != images.ignore_index).any()):
                yield counted % folds, item
                counted += 1

    def count(pair: tuple[int, LabelledScores]) -> Any:
        fold, item = pair
        return count_labels(item, qhats[fold].tolist(), **options)

    for (fold, item), result in in_parallel(count, labelled()):
        with item.named():
            both = list(result())
        if fold < len(sums):
            sums[fold] = [total + part for total, part in zip(sums[fold], both)]
        else:
            sums.append(both)
    if len(sums) != folds:
        raise OptionError(_CHANGED)
    labels, right = (np.stack(parts) for parts in zip(*sums))
    return labels, right


_CHANGED = (
    "the second reading found other images than the first: pass data that is the same each time it "
    "is read, without random augmentation"
)


def _check_classes(classes: Sequence[int], num_classes: int) -> None:
    chosen = list(classes)
    if not chosen or not all(0 <= c < num_classes for c in chosen):
        raise OptionError(f"classes must be indices in 0 ... {num_classes - 1}, got {chosen}")


def _present(classes: Sequence[int] | None, pixels: np.ndarray[Any, Any]) -> list[int]:
    """The classes of the mIoU."""
    if classes is None:
        return [int(c) for c in np.flatnonzero(pixels)]
    chosen = list(dict.fromkeys(classes))
    if not pixels[chosen].any():
        raise OptionError(
            f"none of the classes {chosen} occurs in the labels; leave classes out for all that do"
        )
    return chosen


def _with_constant(
    counted: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]],
    true: np.ndarray[Any, Any],
    classes: Sequence[int],
    background: int,
) -> FoldCounts:
    """The candidates' counts and, last, those of the most common class for every pixel."""
    labelled, right = counted
    if not np.array_equal(labelled[:, -1].sum(axis=1), true.sum(axis=1)):  # argmax drops nothing
        raise OptionError(_CHANGED)
    most = int(true.sum(axis=0).argmax())
    extra = np.zeros((2, len(true), 1, true.shape[1]), dtype=np.int64)
    extra[0, :, 0, most] = true.sum(axis=1)
    extra[1, :, 0, most] = true[:, most]
    return FoldCounts(
        np.concatenate([labelled, extra[0]], axis=1),
        np.concatenate([right, extra[1]], axis=1),
        true,
        classes,
        background,
    )


def _constant(counts: FoldCounts, true: np.ndarray[Any, Any]) -> Constant:
    label = int(true.sum(axis=0).argmax())
    measured = (counts.precision, counts.miou, counts.recall)
    return Constant(label, *(float(values[-1]) for values, _ in measured))


def _judge(
    counts: FoldCounts,
    wish: Wish,
    rules: Sequence[str],
    alphas: Sequence[float],
    qhats: Sequence[Any],
) -> tuple[int, bool, list[Candidate]]:
    """The proposal's number, whether it fulfils the wish, and all candidates."""
    settings: list[tuple[str, float | None, float]] = [
        (rule, alpha, float(qhat)) for rule in rules for alpha, qhat in zip(alphas, qhats)
    ]
    settings.append(("most-probable", None, math.inf))
    usable = np.array([alpha is None or qhat < 1.0 for _, alpha, qhat in settings])
    beats = usable & _clearly_above_last(*counts.miou) & _clearly_above_last(*counts.precision)
    rows = np.flatnonzero(beats if beats.any() else usable)
    proposed, fulfilled = wish.best_of(counts, rows)
    columns: dict[str, Any] = {"usable": usable, "beats_constant": beats}
    for name in ("miou", "precision", "kept", "recall"):
        values, without = getattr(counts, name)
        columns |= {name: values, f"{name}_se": jackknife(without)}
    (miou, miou_without), (recall, recall_without) = counts.miou, counts.recall
    columns |= {
        "behind": miou[proposed] - miou,
        "behind_se": jackknife(miou_without[:, [proposed]] - miou_without),
        "recall_gain": recall - recall[proposed],
        "recall_gain_se": jackknife(recall_without - recall_without[:, [proposed]]),
    }
    candidates = [
        Candidate(*setting, **{name: column[i].item() for name, column in columns.items()})
        for i, setting in enumerate(settings)
    ]
    return proposed, fulfilled, candidates


def _check_objects(classes: Sequence[int], background: int, pixels: np.ndarray[Any, Any]) -> None:
    """Refuse a wanted recall that nothing can be measured on."""
    if not any(pixels[c] for c in classes if c != background):
        raise OptionError(
            f"want_recall is a share of the objects' pixels, and no labelled pixel is of a class "
            f"of {list(classes)} other than the background {background}; label objects, or name "
            f"other classes or another background"
        )


def _clearly_above_last(
    values: np.ndarray[Any, Any], without: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Which values, the last left out, exceed the last by more than two standard errors."""
    difference = values[:-1] - values[-1]
    errors = jackknife(without[:, :-1] - without[:, -1:])
    clearly: np.ndarray[Any, Any] = difference > CLEARLY * errors
    return clearly
