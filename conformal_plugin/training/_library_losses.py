"""Overlap losses of segmentation libraries, by name, on scores that are masked here.

What their classes make of an ignore index differs, between them and from version to version; some
have none. They are therefore asked for the overlap alone: given scores and one-hot classes that are
both zero at dropped pixels, which add nothing to any sum of theirs. Their focal and Lovasz losses
are not among them: these cut the kept pixels out, which waits for the device and is NaN where there
are none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from torch import Tensor

from conformal_plugin._extras import optional

__all__ = ["LIBRARY_LOSSES", "library_loss"]

_PACKAGES: Final = {
    "smp": ("segmentation_models_pytorch.losses", "segmentation-models-pytorch"),
    "monai": ("monai.losses", "monai"),
}
_CLASSES: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    **{
        f"smp:{kind}": (f"{kind.title()}Loss", {"mode": "multilabel", "from_logits": False})
        for kind in ("dice", "jaccard", "tversky")
    },
    "monai:dice": ("DiceLoss", {"batch": True}),
    "monai:jaccard": ("DiceLoss", {"batch": True, "jaccard": True}),
    "monai:tversky": ("TverskyLoss", {"batch": True}),
    "monai:generalized-dice": ("GeneralizedDiceLoss", {"batch": True}),
}
LIBRARY_LOSSES: Final = tuple(_CLASSES)
"""The names; each also as ``smp:sigmoid-dice``, of sigmoid heads."""


def library_loss(name: str) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss of scores and one-hot classes, both ``(N, K, ...)`` and zero at dropped pixels.

    Args:
        name: one of ``LIBRARY_LOSSES``.

    Raises:
        MissingExtraError: the library is not installed.
    """
    module, package = _PACKAGES[name.partition(":")[0]]
    kind, options = _CLASSES[name]
    losses = optional(module, package, f"the loss {name!r}", extra="losses")
    loss: Callable[[Tensor, Tensor], Tensor] = getattr(losses, kind)(**options)
    return loss
