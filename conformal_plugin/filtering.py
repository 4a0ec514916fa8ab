"""From class scores to pseudo-labels: prediction sets and the rules that pick a label from them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.arrays import back_to_kind
from conformal_plugin.calibration import Calibration, images_needed
from conformal_plugin.choices import RULES
from conformal_plugin.cpu_labels import Patterns, label_part, map_parts, patterns_of
from conformal_plugin.errors import (
    LabelError,
    OptionError,
    ScoreError,
    ShapeError,
    UninformativeThresholdError,
)
from conformal_plugin.grid import ScoreGrid, grid_of
from conformal_plugin.inputs import check_ignore_index, read_scores, score_message

__all__ = [
    "Least",
    "check_range",
    "check_rule",
    "class_thresholds",
    "extremes",
    "filter",
    "in_set",
    "label_dtype",
    "label_maps",
    "least_patterns",
    "least_scores",
    "ordered",
    "prediction_sets",
    "promised_rule",
    "refuse_uninformative",
    "score_of",
    "unfiltered_labels",
]

Least = list["float | int | None"]
"""Per class, the smallest raw score in the prediction set; None where no score is."""


def filter(
    masks: Any,
    qhat: Any,
    *,
    rule: str | None = None,
    background: int | None = None,
    ignore_index: int = 255,
) -> Any:
    """Turn an annotator's class scores into pseudo-labels, dropping what calibration forbids.

    Each pixel has the prediction set ``C = {j : 1 - P(j) <= qhat(j)}``. The rule picks its label:

    - ``"foreground-first"`` (ConformalSAM, arXiv 2507.15803): the most probable foreground class
      in C if there is one; else background if C = {background}; else ignored.
    - ``"most-probable"``: the most probable class in C; ignored if C is empty. For data without a
      background class.
    - ``"singleton"``: the class of C where C has exactly one; else ignored.

    Ties go to the lowest class index, as with ``argmax``.

    Args:
        masks: class scores in [0, 1], ``(K, H, W)`` or ``(N, K, H, W)``; kinds and dtypes as in
            :func:`conformal_plugin.calibrate`.
        qhat: a :class:`conformal_plugin.Calibration`, a number, or one number per class.
        rule: one of the three above; None for the one that the calibration is for, where it is for
            one (:func:`conformal_plugin.calibrate_precision` and what ``choose`` proposes), else
            ``"foreground-first"``.
        background: index of the background class (``"foreground-first"`` alone uses it); None for
            the calibration's, else 0.
        ignore_index: the label of dropped pixels.

    Returns:
        Label maps ``(H, W)`` or ``(N, H, W)``, of the same kind and on the same device: uint8
        where K - 1 and ``ignore_index`` fit, else int16 or int32.

    Raises:
        UninformativeThresholdError: a threshold of 1 or more (infinite ones included), or one that
            puts every class into the set of every pixel.
        InputTypeError, ShapeError, ScoreError, LabelError, OptionError: bad masks or options.

    Example:
        >>> import numpy as np
        >>> masks = np.array([[[0.6, 0.9, 0.2]], [[0.4, 0.1, 0.2]]])
        >>> filter(masks, 0.65).tolist()
        [[1, 0, 255]]
    """
    tensor = read_scores(masks, "masks", points=False)
    batch = tensor if tensor.ndim == 4 else tensor.unsqueeze(0)
    num_classes = batch.shape[1]
    grid = grid_of(batch, "masks")
    rule, background = promised_rule(qhat, rule, background)
    check_rule(rule, background, num_classes)
    check_ignore_index(ignore_index, num_classes)
    thresholds = class_thresholds(qhat, num_classes)
    refuse_uninformative(qhat)
    options: dict[str, Any] = {
        "rule": rule,
        "background": background,
        "ignore_index": ignore_index,
    }
    if batch.device.type == "cpu":
        out = _labels_on_cpu(batch, thresholds, grid, options)
    else:
        least = [grid.least(threshold) for threshold in thresholds]
        out = label_maps(batch, least, **options)
        check_range(extremes(batch), batch, grid)
        if all(bool(in_set(batch[:, c], bound).all()) for c, bound in enumerate(least)):
            raise _every_class_in_every_set(num_classes)
    return back_to_kind(masks)(out if tensor.ndim == 4 else out[0])


def _labels_on_cpu(
    batch: Tensor, thresholds: list[float], grid: ScoreGrid, options: dict[str, Any]
) -> Tensor:
    num_classes = len(thresholds)
    bounds = least_patterns(thresholds, grid)
    out = torch.empty(
        batch.shape[:1] + batch.shape[2:], dtype=label_dtype(num_classes, options["ignore_index"])
    )
    informative = [None in bounds]

    def work(part: Patterns, labels: np.ndarray[Any, Any]) -> int:
        if not informative[0]:  # settled by the first part, as a rule
            informative[0] = any((part[c] < bound).any() for c, bound in enumerate(bounds))
        return label_part(part, bounds, labels, **options)

    if max(map_parts(work, patterns_of(batch), out.numpy()), default=0) > grid.top:
        check_range(extremes(batch), batch, grid)
        # No bad score: only -0.0 has such a pattern.
        return _labels_on_cpu(batch + 0.0, thresholds, grid, options)
    if not informative[0] and out.numel():
        raise _every_class_in_every_set(num_classes)
    return out


def prediction_sets(masks: Any, qhat: Any) -> Any:
    """The prediction set of every pixel, ``{j : 1 - P(j) <= qhat(j)}``, as a mask per class.

    Args:
        masks: class scores in [0, 1], ``(K, H, W)`` or ``(N, K, H, W)``.
        qhat: a :class:`conformal_plugin.Calibration`, a number (``math.inf`` included: every class
            is then in every set), or one number per class.

    Returns:
        Booleans of the shape, kind and device of ``masks``; True where the class is in the set.

    Raises:
        InputTypeError, ShapeError, ScoreError, OptionError: bad masks or thresholds.
    """
    tensor = read_scores(masks, "masks", points=False)
    channels = tensor.ndim - 3
    grid = grid_of(tensor, "masks")
    least = least_scores(qhat, grid, tensor.shape[channels])
    check_range(extremes(tensor), tensor, grid)
    return back_to_kind(masks)(
        torch.stack(
            [in_set(scores, bound) for scores, bound in zip(tensor.unbind(channels), least)],
            dim=channels,
        )
    )


def label_maps(
    scores: Tensor, least: Least, *, rule: str, background: int, ignore_index: int
) -> Tensor:
    """The pseudo-labels of ``(N, K, ...)`` scores: :func:`filter` without its checks.

    Never reads a value back from the device, and is plain enough for ``torch.compile``.
    """
    return _PICK[rule](scores, least, background, ignore_index)


def unfiltered_labels(scores: Tensor, rule: str, background: int) -> Tensor:
    """The labels of ``(K, H, W)`` scores when every class is in every set, int64 ``(H, W)``."""
    num_classes = scores.shape[0]
    everything: Least = [0] * num_classes
    maps = label_maps(
        scores.unsqueeze(0), everything, rule=rule, background=background, ignore_index=num_classes
    )
    return maps[0].to(torch.int64)


def score_of(scores: Tensor, labels: Tensor) -> Tensor:
    """Each pixel's raw score of its label, ``(H, W)``."""
    return ordered(scores).gather(0, labels.unsqueeze(0))[0]


def _foreground_first(scores: Tensor, least: Least, background: int, ignore_index: int) -> Tensor:
    foreground = [c for c in range(scores.shape[1]) if c != background]
    labels, found = _most_probable_of(scores, least, foreground, ignore_index)
    alone = in_set(scores[:, background], least[background]) & ~found
    return labels.masked_fill_(alone, background)


def _most_probable(scores: Tensor, least: Least, background: int, ignore_index: int) -> Tensor:
    return _most_probable_of(scores, least, list(range(scores.shape[1])), ignore_index)[0]


def _most_probable_of(
    scores: Tensor, least: Least, classes: list[int], ignore_index: int
) -> tuple[Tensor, Tensor]:
    """The most probable of ``classes`` that are in the set, and whether any is."""
    common = len({least[c] for c in classes}) == 1
    first, *others = classes
    dtype = label_dtype(scores.shape[1], ignore_index)
    best = _candidate(scores, first, least, common).clone()
    labels = torch.full_like(best, first, dtype=dtype)
    for c in others:
        candidate = _candidate(scores, c, least, common)
        higher = candidate > best
        torch.maximum(best, candidate, out=best)
        labels.masked_fill_(higher, c)
    found = in_set(best, least[first]) if common else best >= 0
    return labels.masked_fill_(~found, ignore_index), found


def _candidate(scores: Tensor, c: int, least: Least, common: bool) -> Tensor:
    channel = ordered(scores[:, c])
    if common:  # one threshold: comparing the winner alone is enough
        return channel
    return torch.where(in_set(channel, least[c]), channel, -1)


def _singleton(scores: Tensor, least: Least, background: int, ignore_index: int) -> Tensor:
    dtype = label_dtype(scores.shape[1], ignore_index)
    shape = scores[:, 0]
    labels = torch.full_like(shape, ignore_index, dtype=dtype)
    seen = torch.zeros_like(shape, dtype=torch.bool)
    for c in range(scores.shape[1]):
        member = in_set(scores[:, c], least[c])
        labels.masked_fill_(member & ~seen, c).masked_fill_(member & seen, ignore_index)
        seen |= member
    return labels


_PICK: dict[str, Callable[[Tensor, Least, int, int], Tensor]] = {
    "foreground-first": _foreground_first,
    "most-probable": _most_probable,
    "singleton": _singleton,
}


def in_set(scores: Tensor, least: float | int | None) -> Tensor:
    """Whether one class is in the prediction set, given its scores and its least score."""
    if least is None:
        return torch.zeros_like(scores, dtype=torch.bool)
    return ordered(scores) >= least


def ordered(scores: Tensor) -> Tensor:
    """Integer scores in a dtype that torch compares and that holds -1; others as they are."""
    return scores if scores.dtype.is_floating_point else scores.to(torch.int32)


def least_scores(qhat: Any, grid: ScoreGrid, num_classes: int) -> Least:
    """Per class, the smallest raw score of the grid's dtype that is in the prediction set.

    Raises:
        OptionError, ShapeError: as :func:`class_thresholds`.
    """
    thresholds = class_thresholds(qhat, num_classes)
    least = {threshold: grid.least(threshold) for threshold in set(thresholds)}
    return [least[threshold] for threshold in thresholds]


def least_patterns(thresholds: Sequence[float], grid: ScoreGrid) -> list[int | None]:
    """Per class, the pattern of the smallest score in the prediction set; None where there is none.

    Args:
        thresholds: one per class.
        grid: of the scores.
    """
    least = {threshold: grid.least_pattern(threshold) for threshold in set(thresholds)}
    return [least[threshold] for threshold in thresholds]


def class_thresholds(qhat: Any, num_classes: int) -> list[float]:
    """The threshold of each class, ``(K,)``.

    Raises:
        OptionError: ``qhat`` is no number, or holds NaN.
        ShapeError: it has a length other than K.
    """
    value = qhat.qhat if isinstance(qhat, Calibration) else qhat
    if isinstance(value, Tensor):
        value = value.detach().cpu().numpy()
    try:
        thresholds = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        thresholds = np.array(np.nan)
    if np.isnan(thresholds).any() or isinstance(value, bool):
        raise OptionError(
            f"qhat must be a Calibration, a number or one number per class, and no NaN, got "
            f"{value!r}; calibrate first, or pass a threshold on 1 - P(class) between 0 and 1"
        )
    if thresholds.ndim > 1 or (thresholds.ndim == 1 and len(thresholds) != num_classes):
        raise ShapeError(
            f"qhat must be one number or one per class, {num_classes} here, got shape "
            f"{thresholds.shape}; calibrate with maps of the same classes"
        )
    if isinstance(qhat, Calibration) and qhat.num_classes != num_classes:
        raise ShapeError(
            f"the calibration was made with {qhat.num_classes} classes and the masks have "
            f"{num_classes}; calibrate with maps of the same annotator and class list"
        )
    per_class: list[float] = np.broadcast_to(thresholds, num_classes).tolist()
    return per_class


def refuse_uninformative(qhat: Any) -> None:
    """Refuse thresholds of 1 or more, which put their class into every prediction set.

    Raises:
        UninformativeThresholdError: with the classes concerned and the remedy.
    """
    calibration = qhat if isinstance(qhat, Calibration) else None
    thresholds = np.asarray(calibration.qhat if calibration else qhat, dtype=np.float64)
    high = thresholds >= 1.0
    if not high.any():
        return
    which = f"of classes {np.flatnonzero(high).tolist()} " if thresholds.ndim else ""
    value = float(thresholds.max())
    raise UninformativeThresholdError(
        f"qhat {which}is {value:g}, so every class is in every prediction set and a label says "
        f"nothing about the image{_why(calibration)}; {_REMEDY}"
    )


_REMEDY = (
    "calibrate with a larger alpha or more labelled images, or measure a grid of alphas on the "
    "labelled images with evaluate"
)


def _why(calibration: Calibration | None) -> str:
    if calibration is None:
        return ""
    if np.isinf(np.max(calibration.qhat)):
        if calibration.guarantee.unit == "image":
            return (
                f" (alpha {calibration.alpha:g} needs at least {images_needed(calibration.alpha)} "
                f"calibration images, there are {calibration.n_images})"
            )
        return (
            f" (alpha {calibration.alpha:g} is too small for {calibration.n_pixels} calibration "
            f"pixels)"
        )
    return (
        f" (more than a share alpha = {calibration.alpha:g} of the calibration pixels has a true "
        f"class that the annotator scores 0)"
    )


def check_rule(rule: str, background: int, num_classes: int) -> None:
    """Check a rule's name and the background class.

    Raises:
        OptionError: an unknown rule, or a background that is no class.
    """
    if rule not in RULES:
        raise OptionError(f"rule must be one of {', '.join(RULES)}, got {rule!r}")
    integer = isinstance(background, (int, np.integer)) and not isinstance(background, bool)
    if not integer or not 0 <= background < num_classes:
        raise OptionError(
            f"background must be a class index in 0 ... {num_classes - 1}, got {background!r}; for "
            f"data without a background class use rule='most-probable'"
        )


def promised_rule(qhat: Any, rule: str | None, background: int | None) -> tuple[str, int]:
    """The rule and the background class to label with: those asked for, or the calibration's.

    Raises:
        OptionError: others than those that the calibration is for.
    """
    promised = qhat if isinstance(qhat, Calibration) and qhat.rule is not None else None
    if promised is None:
        return RULES[0] if rule is None else rule, 0 if background is None else background
    for name, given in (("rule", rule), ("background", background)):
        meant = getattr(promised, name)
        if given is not None and given != meant:
            raise OptionError(
                f"the calibration is for {name}={meant!r}, and {name}={given!r} was asked for; "
                f"leave it out, calibrate for it, or pass the calibration's qhat alone to use it "
                f"for something else"
            )
    return str(promised.rule), int(promised.background or 0)


def label_dtype(num_classes: int, ignore_index: int) -> torch.dtype:
    """The smallest of uint8, int16 and int32 that holds every class and the ignore index.

    Raises:
        LabelError: the ignore index fits none of them.
    """
    for dtype in (torch.uint8, torch.int16, torch.int32):
        info = torch.iinfo(dtype)
        if info.min <= ignore_index <= info.max and num_classes - 1 <= info.max:
            return dtype
    raise LabelError(f"ignore_index must fit 32 bits, got {ignore_index}; 255 and -1 are usual")


def extremes(scores: Tensor) -> Tensor:
    """The smallest and the largest raw score, ``(2,)``; NaN where there is one."""
    values = ordered(scores)
    if values.dtype in (torch.float16, torch.bfloat16):  # not every torch has these on a CPU
        values = values.float()
    return torch.stack(values.aminmax())


def check_range(bounds: Tensor, scores: Tensor, grid: ScoreGrid) -> None:
    """Refuse scores outside the grid's range, given their :func:`extremes`, ``(..., 2)``.

    Raises:
        ScoreError: NaN, or a value outside [0, 1].
    """
    top = int(grid.top) if grid.is_integer else 1
    if bool(((bounds >= 0) & (bounds <= top)).all()):
        return
    comparable = ordered(scores)
    wrong = comparable[~((comparable >= 0) & (comparable <= top))]
    raise ScoreError(score_message(wrong))


def _every_class_in_every_set(num_classes: int) -> UninformativeThresholdError:
    return UninformativeThresholdError(
        f"every one of the {num_classes} classes is in the prediction set of every pixel here, so "
        f"a label says nothing about the image; {_REMEDY}"
    )
