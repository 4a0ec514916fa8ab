"""The default path for an annotator whose unlabelled maps were looked at: how sure it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from torch import Tensor

from conformal_plugin.errors import EmptyCalibrationError, OptionError
from conformal_plugin.labelling import least_scores, members
from conformal_plugin.precision._path import ThresholdPath
from conformal_plugin.scores import ScoreParts, check_range, extremes, grid_of, read_scores

__all__ = ["is_surer", "path_for", "sure_share"]

_MOSTLY, _SURE = 0.7, 0.87
"""How much of the first cap an image fills that counts, and the share of such images that tells."""


def path_for(masks: Any, *, background: int = 0) -> ThresholdPath:
    """The default path of the foreground-first rule, for an annotator that scores images like this.

    Scouts are few, and images on which a sure annotator is wrong are rare, so that scouts mostly
    cannot see that one is surer than it should be. Unlabelled maps show it: where nearly all of
    them fill the cap already at the path's first thresholds, these leave nothing out that might be
    wrong, and ``ThresholdPath.capped_foreground_first(surer=True)`` is returned, else the default.

    A promise about the population stays exact if these images are not among the calibration images
    and tell nothing of them, as independent draws do not. One for the unlabelled images at hand
    (``unlabelled_images``) would not: which of all images are unlabelled must not choose the path.

    The limits were found on 437 photos of PASCAL VOC and 380 colonoscopy stills, with the
    annotators' scores and four changed forms of them; on other data they cost power at worst.

    Args:
        masks: class scores in [0, 1] of unlabelled images: one ``(K, H, W)``, a batch
            ``(N, K, H, W)`` or an iterable of these, volumes likewise with an axis more; kinds and
            dtypes as in :func:`conformal_plugin.filter`. A hundred images are enough.
        background: index of the background class.

    Raises:
        EmptyCalibrationError: no map.
        OptionError: no such background class.
        InputTypeError, ShapeError, ScoreError: bad scores.

    Example:
        >>> import numpy as np
        >>> surely = np.eye(2)[np.zeros((20, 8, 8), dtype=int)].transpose(0, 3, 1, 2)
        >>> print(len(path_for(surely).starts), len(path_for(0.9 * surely).starts))
        6 7
    """
    single = hasattr(masks, "shape") or isinstance(masks, ScoreParts)
    images = (image for item in ([masks] if single else masks) for image in _images(item))
    surer = is_surer(sure_share(image, background=background) for image in images)
    return ThresholdPath.capped_foreground_first(surer=surer)


def is_surer(shares: Iterable[float]) -> bool:
    """Whether :func:`path_for` takes the path for surer annotators.

    Args:
        shares: the :func:`sure_share` of each unlabelled image.

    Raises:
        EmptyCalibrationError: no share.
    """
    cap = ThresholdPath.capped_foreground_first().caps[0]
    filled = [share >= _MOSTLY * cap for share in shares]
    if not filled:
        raise EmptyCalibrationError(
            "there is no unlabelled map to see how sure the annotator is; pass some, or leave the "
            "path out for the default"
        )
    return bool(np.mean(filled) >= _SURE)


def sure_share(scores: Any, *, background: int = 0) -> float:
    """The share of an image's pixels with a label at the first thresholds of the default path.

    Args:
        scores: of one image ``(K, H, W)``, or one volume ``(1, K, D, H, W)``, whole or in parts.
        background: index of the background class.

    Raises:
        OptionError: no such background class.
        InputTypeError, ShapeError, ScoreError: bad scores.
    """
    whole = not isinstance(scores, ScoreParts)
    parts = [scores] if whole else [part for _, part in scores.placed()]
    counts = [_counted(part, background) for part in parts]
    labelled, pixels = np.sum(counts, axis=0)
    return float(labelled / pixels)


def _counted(scores: Any, background: int) -> tuple[int, int]:
    """Pixels with a class in their set, and all."""
    tensor = read_scores(scores, "masks", points=False)
    batch = tensor if tensor.ndim > 3 else tensor.unsqueeze(0)
    num_classes = batch.shape[1]
    if not 0 <= background < num_classes:
        raise OptionError(
            f"background must be a class from 0 to {num_classes - 1}, got {background!r}"
        )
    thresholds = ThresholdPath.capped_foreground_first().qhat(0, num_classes, background)
    grid = grid_of(batch, "masks")
    check_range(extremes(batch), batch, grid)
    labelled = members(batch, least_scores(thresholds, grid, num_classes)).any(dim=1)
    return int(labelled.sum()), labelled.numel()


def _images(masks: Any) -> Iterator[Tensor | ScoreParts]:
    """The images of a map, a batch, or volumes, each volume as a batch of one."""
    if isinstance(masks, ScoreParts):
        yield masks
        return
    tensor = read_scores(masks, "masks", points=False)
    if tensor.ndim == 5:
        yield from (tensor[i : i + 1] for i in range(len(tensor)))
    else:
        yield from tensor if tensor.ndim == 4 else [tensor]
