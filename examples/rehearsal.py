"""What the default's labels gain in a cell, by the package's rehearsal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from known import Known
from material import IGNORE, Material
from tqdm import tqdm

from conformal_plugin.rehearsing import LiteEncoder, Rehearsal, rehearse

__all__ = ["encoded", "of_default"]


def encoded(material: Material, trained_on: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Features of the labelled photos, and of the first unlabelled ones, which are trained on."""
    encode = LiteEncoder()
    labelled, unlabelled = (
        [encode(photo.transpose(1, 2, 0)).half() for photo in tqdm(some)]
        for some in (material.labelled.photos, material.unlabelled.photos[:trained_on])
    )
    return labelled, unlabelled


def of_default(
    known: Known, labelled: Sequence[torch.Tensor], unlabelled: Sequence[torch.Tensor]
) -> Rehearsal | None:
    """What its labels gain; None where the labelled photos speak against using any."""
    if known.default is None:
        return None
    truth = known.labelled.truth
    held = {int(c) for one in truth for c in np.unique(one)}
    return rehearse(
        labelled[: len(truth)],
        truth,
        unlabelled,
        known.default,
        classes=[c for c in known.core if c in held],
        ignore_index=IGNORE,
    )
