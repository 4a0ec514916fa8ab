"""Propose alpha and the rule from the labelled images alone, each judged by the others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from conformal_plugin._choices import ALPHAS, RULES
from conformal_plugin.calibration import Calibrator, exact_alpha
from conformal_plugin.choosing._choice import Choice
from conformal_plugin.choosing._judging import constant, judge, with_constant
from conformal_plugin.choosing._readings import Images, read_labels, read_thresholds
from conformal_plugin.choosing._wish import Wish
from conformal_plugin.errors import OptionError
from conformal_plugin.labelling import check_rule

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
    images = Images(scores, labels, ids, ignore_index)
    calibrator = Calibrator(ignore_index=ignore_index)

    def check(num_classes: int) -> None:
        for rule in names:
            check_rule(rule, background, num_classes)
        if classes is not None:
            _check_classes(classes, num_classes)

    qhats, true = read_thresholds(images, calibrator, levels, folds, check)
    present = _present(classes, true.sum(axis=0))
    if want_recall is not None:
        _check_objects(present, background, true.sum(axis=0))
    options = {"rules": names, "background": background, "ignore_index": ignore_index}
    labelled, right = read_labels(images, qhats, true, options)
    counts = with_constant(labelled, right, true, present, background)
    all_images = [calibrator.result(alpha).qhat for alpha in levels]
    proposed, fulfilled, candidates = judge(counts, wish, names, levels, all_images)
    calibration = None
    alpha = candidates[proposed].alpha
    if alpha is not None:
        found = calibrator.exact_result(scores, labels, alpha, ids=images.ids)
        calibration = replace(found, rule=candidates[proposed].rule, background=background)
    return Choice(
        proposed=candidates[proposed],
        candidates=tuple(candidates),
        constant=constant(counts),
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


def _check_objects(classes: Sequence[int], background: int, pixels: np.ndarray[Any, Any]) -> None:
    """Refuse a wanted recall that nothing can be measured on."""
    if not any(pixels[c] for c in classes if c != background):
        raise OptionError(
            f"want_recall is a share of the objects' pixels, and no labelled pixel is of a class "
            f"of {list(classes)} other than the background {background}; label objects, or name "
            f"other classes or another background"
        )
