"""From class scores to prediction sets and pseudo-labels."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from conformal_plugin.calibration import Calibration
from conformal_plugin.labelling._cap import cap_of
from conformal_plugin.labelling._cpu_labels import fill_maps, label_part
from conformal_plugin.labelling._rules import (
    check_rule,
    in_set,
    label_dtype,
    label_maps,
    members,
    promised_rule,
)
from conformal_plugin.labelling._thresholds import (
    Least,
    class_thresholds,
    every_class_in_every_set,
    least_patterns,
    least_scores,
    refuse_uninformative,
)
from conformal_plugin.scores import (
    Patterns,
    ScoreGrid,
    ScoreParts,
    as_image,
    back_to_kind,
    check_ignore_index,
    check_range,
    extremes,
    grid_of,
    in_cpu_memory,
    read_scores,
    refuse_a_volume,
)

__all__ = ["filter", "prediction_sets"]


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

    Ties go to the lowest class index, as with ``argmax``. Where the calibration has a cap, at most
    that share of an image's pixels keep their label, see :class:`conformal_plugin.labelling.Cap`:
    pass whole images, as calibration has seen them, not crops.

    Args:
        masks: class scores in [0, 1], ``(K, H, W)`` or ``(N, K, H, W)``, or of volumes
            ``(N, K, D, H, W)``; kinds and dtypes as in :func:`conformal_plugin.calibrate`. Or one
            map that is read part by part, see :func:`conformal_plugin.files.open_map`.
        qhat: a :class:`conformal_plugin.Calibration`, a number, or one number per class.
        rule: one of the three above; None for the one that the calibration is for, where it is for
            one (:func:`conformal_plugin.calibrate_precision` and what ``choose`` proposes), else
            ``"foreground-first"``.
        background: index of the background class (``"foreground-first"`` alone uses it); None for
            the calibration's, else 0.
        ignore_index: the label of dropped pixels.

    Returns:
        Label maps ``(H, W)``, ``(N, H, W)`` or ``(N, D, H, W)``, of the same kind and
        on the same device: uint8 where K - 1 and ``ignore_index`` fit, else int16 or int32.

    Raises:
        UninformativeThresholdError: a threshold of 1 or more (infinite ones included), or one that
            puts every class into the set of every pixel, unless the calibration is for
            ``"most-probable"``, which is then the annotator's own label.
        InputTypeError, ShapeError, ScoreError, LabelError, OptionError: bad masks or options.

    Example:
        >>> import numpy as np
        >>> masks = np.array([[[0.6, 0.9, 0.2]], [[0.4, 0.1, 0.2]]])
        >>> filter(masks, 0.65).tolist()
        [[1, 0, 255]]
    """
    rule, background = promised_rule(qhat, rule, background)
    options: dict[str, Any] = {
        "rule": rule,
        "background": background,
        "ignore_index": ignore_index,
    }
    cap = cap_of(qhat)
    if isinstance(masks, ScoreParts):
        if cap is None:
            return _labels_of_parts(masks, qhat, options)
        # Which pixels stay depends on all others of the image.
        masks = masks.whole()
        if masks.ndim == 4:
            return filter(masks[None], qhat, **options)[0]
    tensor = read_scores(masks, "masks", points=False)
    batch = _as_batch(tensor)
    num_classes = batch.shape[1]
    grid = grid_of(batch, "masks")
    check_rule(rule, background, num_classes)
    check_ignore_index(ignore_index, num_classes)
    thresholds = class_thresholds(qhat, num_classes)
    refuse_uninformative(qhat)
    if in_cpu_memory(batch):
        out, informative = _labels_on_cpu(batch, thresholds, grid, options)
        if not informative and out.numel() and not _meant(qhat, rule):
            raise every_class_in_every_set(num_classes)
        out = out if cap is None else cap.applied(out, batch, **options)
    else:
        least = least_scores(qhat, grid, num_classes)
        out = label_maps(batch, least, **options, cap=cap)
        smallest = check_range(extremes(batch), batch, grid)
        if not _meant(qhat, rule) and _all_sets_full(batch, least, smallest):
            raise every_class_in_every_set(num_classes)
    # Of volumes and single images, each in its own shape.
    shape = tensor.shape[1:] if tensor.ndim == 3 else tensor.shape[:1] + tensor.shape[2:]
    return back_to_kind(masks)(out.reshape(shape))


def _as_batch(tensor: Tensor) -> Tensor:
    """What :func:`read_scores` gives as ``(N, K, H, W)``, the slices of volumes below each other.

    Raises:
        ShapeError: one volume that would pass for a batch of images.
    """
    if tensor.ndim == 3:
        return tensor.unsqueeze(0)
    if tensor.ndim == 5:
        return as_image(tensor)
    refuse_a_volume(tensor, None, "masks")
    return tensor


def _meant(qhat: Any, rule: str) -> bool:
    """Whether a calibration was chosen or certified with this very label in view.

    Where every class is in a pixel's set, the most probable one is still that of the annotator, and
    such pixels were among those that the calibration for this rule was judged by.
    """
    return isinstance(qhat, Calibration) and qhat.rule == rule == "most-probable"


def _all_sets_full(batch: Tensor, least: Least, smallest: float) -> bool:
    """Whether every class is in every set, given the smallest raw score of all.

    With one threshold that score settles it, without another look at the maps.
    """
    bounds = [bound for bound in least if bound is not None]
    if len(bounds) < len(least) or smallest < min(bounds):
        return False
    return smallest >= max(bounds) or all(
        bool(in_set(batch[:, c], bound).all()) for c, bound in enumerate(bounds)
    )


def _labels_on_cpu(
    batch: Tensor, thresholds: list[float], grid: ScoreGrid, options: dict[str, Any]
) -> tuple[Tensor, bool]:
    """The labels, and whether any class is outside of any set."""
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

    fill_maps(work, batch, grid, out)
    return out, informative[0]


def _labels_of_parts(masks: ScoreParts, qhat: Any, options: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The labels ``(H, W)`` or ``(D, H, W)`` of a map that is read part by part."""
    num_classes, *size = masks.shape
    check_rule(options["rule"], options["background"], num_classes)
    check_ignore_index(options["ignore_index"], num_classes)
    thresholds = class_thresholds(qhat, num_classes)
    refuse_uninformative(qhat)
    dtype = str(label_dtype(num_classes, options["ignore_index"])).removeprefix("torch.")
    out, informative = np.empty(size, dtype), False
    for rows, part in masks.placed():
        batch = _as_batch(read_scores(part, "masks", points=False))
        labels, some = _labels_on_cpu(batch, thresholds, grid_of(batch, "masks"), options)
        out[rows] = labels.numpy().reshape(out[rows].shape)
        informative = informative or some
    if not informative and not _meant(qhat, options["rule"]):
        raise every_class_in_every_set(num_classes)
    return out


def prediction_sets(masks: Any, qhat: Any) -> Any:
    """The prediction set of every pixel, ``{j : 1 - P(j) <= qhat(j)}``, as a mask per class.

    Args:
        masks: class scores in [0, 1], ``(K, H, W)``, ``(N, K, H, W)`` or ``(N, K, D, H, W)``.
        qhat: a :class:`conformal_plugin.Calibration`, a number (``math.inf`` included: every class
            is then in every set), or one number per class.

    Returns:
        Booleans of the shape, kind and device of ``masks``; True where the class is in the set.

    Raises:
        InputTypeError, ShapeError, ScoreError, OptionError: bad masks or thresholds.
    """
    tensor = read_scores(masks, "masks", points=False)
    batch = _as_batch(tensor)
    grid = grid_of(batch, "masks")
    sets = members(batch, least_scores(qhat, grid, batch.shape[1]))
    check_range(extremes(batch), batch, grid)
    return back_to_kind(masks)(sets.reshape(tensor.shape))
