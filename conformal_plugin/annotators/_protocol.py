"""What an annotator is: photos in, class scores out, and a statement of what they depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from conformal_plugin.errors import ShapeError

__all__ = ["Annotator", "Photo", "check_maps"]

Photo: TypeAlias = "npt.NDArray[np.uint8]"
"""``(H, W, 3)``, red, green, blue."""


@runtime_checkable
class Annotator(Protocol):
    """Gives class scores for photos.

    Attributes:
        class_names: the K classes, in the order of the channels.
        background: how background is formed: ``"prompt"``, ``"complement"`` or ``"none"``, see
            :data:`conformal_plugin.annotators.BACKGROUND_RULES`.
        fingerprint: all that the scores depend on (model, digest of its weights, prompts,
            background rule), as plain JSON values.
    """

    @property
    def class_names(self) -> tuple[str, ...]:
        """The K classes, in the order of the channels."""
        ...

    @property
    def background(self) -> str:
        """How background is formed."""
        ...

    @property
    def fingerprint(self) -> Mapping[str, Any]:
        """All that the scores depend on."""
        ...

    def annotate(self, photos: Sequence[Photo]) -> Sequence[Any]:
        """Class scores ``(K, H, W)`` in [0, 1] for each photo ``(H, W, 3)``, at its size.

        They are NumPy arrays or torch tensors, on any device.
        """
        ...


def check_maps(annotator: Annotator, photos: Sequence[Photo], maps: Sequence[Any]) -> None:
    """Refuse maps that are not one per photo, of the annotator's classes and the photo's size.

    Raises:
        ShapeError: with what was expected and what came.
    """
    if len(maps) != len(photos):
        raise ShapeError(
            f"the annotator gave {len(maps)} maps for {len(photos)} photos; it must give one each"
        )
    for photo, scores in zip(photos, maps):
        expected = (len(annotator.class_names), *photo.shape[:-1])
        if tuple(scores.shape) != expected:
            raise ShapeError(
                f"the annotator gave scores of shape {tuple(scores.shape)} where (K, H, W) = "
                f"{expected} was expected: {expected[0]} classes at the photo's size; resize them "
                f"with torch.nn.functional.interpolate, and check the class list and the "
                f"background rule"
            )
