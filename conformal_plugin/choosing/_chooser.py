"""Propose thresholds, rule and alpha from the labelled images alone, each judged by the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformal_plugin._choices import ALPHAS, CLASS_ALPHAS, RULES
from conformal_plugin.calibration import (
    Calibration,
    Calibrator,
    ClassConditionalCalibrator,
    LabelWeights,
    ScoreCounter,
    exact_alpha,
    ladder_of,
)
from conformal_plugin.choosing._choice import Choice, OwnLabels
from conformal_plugin.choosing._judging import constant, judge, own_labels, with_constant
from conformal_plugin.choosing._label_means import LabelMeans
from conformal_plugin.choosing._measures import FoldCounts
from conformal_plugin.choosing._own import count_own
from conformal_plugin.choosing._readings import Images, read_labels, read_thresholds
from conformal_plugin.choosing._signs import LabelSigns, counts_of_labels
from conformal_plugin.choosing._ways import (
    CLASS_CONDITIONAL,
    MIN_IMAGES,
    Grid,
    families,
)
from conformal_plugin.choosing._wish import Wish
from conformal_plugin.errors import OptionError
from conformal_plugin.labelling import check_rule, p_values

__all__ = ["choose"]

_Array = np.ndarray[Any, Any]


def choose(
    scores: Any,
    labels: Any,
    *,
    want_precision: float | None = None,
    want_kept: float | None = None,
    want_recall: float | None = None,
    alphas: Sequence[float] = ALPHAS,
    class_alphas: Sequence[float] = CLASS_ALPHAS,
    rules: Sequence[str] = RULES,
    classes: Sequence[int] | None = None,
    background: int | None = 0,
    ignore_index: int = 255,
    folds: int = 100,
    ids: Iterable[Any] | None = None,
    own: Any = None,
    groups: Any = None,
) -> Choice:
    """Sweep thresholds, rules and alphas on the labelled images and propose one way to label.

    Cross-conformal: the images are dealt to folds, and each fold is labelled at the thresholds of
    the pooled pixels of all others, so that no image is judged at a threshold that it had a say in.
    With at least as many folds as images that is one image at a time; the thresholds are then
    nearly those that will be used, and no luck of the deal comes in. Compared are one threshold for
    all classes (:func:`conformal_plugin.calibrate`) with every rule, one per class
    (:func:`conformal_plugin.calibrate_class_conditional`, classes of five images or more) with
    ``most-probable`` and ``singleton``, foreground-first with the other class as background where
    there are two, and the raw annotator (argmax).

    Without a wish the candidate whose labels tell most of the true classes is proposed: the mutual
    information of label and class over the pixels that keep one, times their share. Of a dozen
    measures that is what went best with the students of docs/beds.md. Of equals the first, in the
    order of the table; the raw annotator only where it is clearly better than any threshold.
    Candidates that tell nothing (by two standard errors), or give the objects' pixels more wrong
    labels than right ones, are proposed only where all do, and the verdict then says that the
    annotator is not worth using; so it does where ``own`` labels tell as much.

    Args:
        scores: class scores in [0, 1] of a batch ``(N, K, H, W)`` or an iterable of ``(K, H, W)``
            that can be read more than once; kinds and dtypes as in
            :func:`conformal_plugin.calibrate`. Read twice, float32 and float64 again for the
            proposal's exact thresholds, and up to a hundred once more for the remarks.
        labels: true classes in step with ``scores``.
        want_precision: propose the most information among candidates whose precision, less one
            standard error, is at least this share.
        want_kept: propose the highest precision among candidates whose kept share, less one
            standard error, is at least this.
        want_recall: propose the most information among candidates whose recall (the share of the
            objects' pixels with the right label), less one standard error, is at least this.
            Objects are ``classes`` but the background. One wish at most.
        alphas: the grid of the threshold for all classes.
        class_alphas: the grid of thresholds per class; empty to leave these out.
        rules: the rules to compare, see :func:`conformal_plugin.filter`.
        classes: what the mIoU is the mean over, and which of them but the background are objects;
            None for all that occur in ``labels``. Leave out classes too rare to measure.
        background: index of the background class; None where no class is one: every class is then
            an object, and ``foreground-first`` is left out.
        ignore_index: label of pixels to leave out.
        folds: the most folds. Image i (counted from 0) goes to fold ``i % folds``. Memory grows
            with it, and standard errors come from leaving out one fold at a time.
        ids: one per image, in step; an image that comes twice is counted once.
        own: class scores of a model of yours that learnt from labelled images alone, in step with
            ``scores``, each from a training that did not see the image; None to leave it out.
        groups: where images come in groups that are alike, that of each, as in
            :func:`conformal_plugin.calibrate`: whole groups are dealt to folds, in the order in
            which they come, so that no image is judged at a threshold that its own video, patient
            or scene had a say in, and standard errors are over groups.

    Returns:
        The proposal, with the table it comes from.

    Raises:
        OptionError, AlphaError: a wish, an alpha, a rule, a class or a number of folds that cannot
            be; a wanted recall where no label is an object; data that changes between readings.
        EmptyCalibrationError, TooFewImagesError: no image with a labelled pixel, or one image or
            group alone.
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
    levels, class_levels = _descending(alphas), _descending(class_alphas)
    names = tuple(dict.fromkeys(rules))
    _check_options(levels, names, folds)
    images = Images(scores, labels, ids, ignore_index, groups)
    pooled = Calibrator(ignore_index=ignore_index)
    by_class = ClassConditionalCalibrator(min_images=MIN_IMAGES, ignore_index=ignore_index)

    def grid_of_ways(num_classes: int) -> Grid:
        for rule in names:
            check_rule(rule, background or 0, num_classes)
        if classes is not None:
            _check_classes(classes, num_classes)
        return Grid(levels, class_levels, *families(names, background, num_classes))

    thresholds = read_thresholds(images, (pooled, by_class), grid_of_ways, folds)
    true = thresholds.true.sum(axis=0)
    ways = grid_of_ways(len(true))
    present = _present(classes, true)
    if want_recall is not None:
        _check_objects(present, background, true)
    counts = with_constant(
        read_labels(images, thresholds, ways), thresholds.true, present, background
    )
    counters: dict[str, ScoreCounter] = {CLASS_CONDITIONAL: by_class}
    all_images = [
        float(np.max(counters.get(family.thresholds, pooled).result(alpha).qhat))
        for family, alpha in ways
    ]
    proposed, fulfilled, candidates = judge(counts, wish, ways, all_images)
    best = candidates[proposed]
    calibration = None
    if best.alpha is not None:
        counter = counters.get(best.thresholds, pooled)
        found = counter.exact_result(
            scores, labels, best.alpha, ids=images.ids, groups=images.groups
        )
        calibration = replace(found, rule=best.rule, background=best.background)
    remarks: tuple[str, ...] = ()
    if calibration is not None:
        ladder = ladder_of(by_class)
        calibration, remarks = _looked_at(images, calibration, ladder, background, true)
    return Choice(
        proposed=best,
        candidates=tuple(candidates),
        constant=constant(counts),
        calibration=calibration,
        want_precision=want_precision,
        want_kept=want_kept,
        want_recall=want_recall,
        fulfilled=fulfilled,
        classes=tuple(present),
        background=background,
        n_images=pooled.n_images,
        n_groups=pooled.n_groups,
        folds=len(thresholds.true),
        own=_own(images, own, thresholds.true, counts, proposed),
        remarks=remarks,
    )


def _descending(alphas: Sequence[float]) -> list[float]:
    return sorted({float(exact_alpha(alpha)) for alpha in alphas}, reverse=True)


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


def _check_objects(classes: Sequence[int], background: int | None, pixels: _Array) -> None:
    """Refuse a wanted recall that nothing can be measured on."""
    if not any(pixels[c] for c in classes if c != background):
        raise OptionError(
            f"want_recall is a share of the objects' pixels, and no labelled pixel is of a class "
            f"of {list(classes)} other than the background {background}; label objects, or name "
            f"other classes or another background"
        )


def _own(
    images: Images, own: Any, true: _Array, counts: FoldCounts, proposed: int
) -> OwnLabels | None:
    """What the user's own model knows, where its scores were given."""
    if own is None:
        return None
    found = FoldCounts(count_own(images, own, true), true, counts.classes, counts.background)
    return own_labels(counts, found, proposed)


def _looked_at(
    images: Images,
    calibration: Calibration,
    ladder: _Array,
    background: int | None,
    true: _Array,
) -> tuple[Calibration, tuple[str, ...]]:
    """With what weights are made of, and what the proposal does to labels beside the table."""
    classes = calibration.num_classes
    found = replace(calibration, label_weights=LabelWeights(ladder, np.full(classes, 0.5)))

    def counters() -> tuple[LabelSigns, LabelMeans]:
        ignored = calibration.ignore_index
        return LabelSigns(calibration.background, ignored), LabelMeans(classes, ignored)

    def counted(scores: Any, labels: Any, truth: Any) -> tuple[LabelSigns, LabelMeans]:
        signs, means = counters()
        signs.add(scores, labels, truth)
        means.add(labels, p_values(scores, labels, found), truth)
        return signs, means

    signs, means = counters()
    for of_image in counts_of_labels(images, calibration, counted):
        signs.merge(of_image[0])
        means.merge(of_image[1])
    weighted = replace(calibration, label_weights=LabelWeights(ladder, means.means()))
    return weighted, tuple(signs.remarks(true, background))
