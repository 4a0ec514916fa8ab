"""Whether two sets of images have the same labels, image by image: in one number, in any order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

__all__ = ["LabelContent", "label_fingerprint"]

_MODULUS = 2**63


class LabelContent:
    """A sum of the fingerprints of images, which is the same wherever and in what order they came.

    Attributes:
        total: below ``2**63``; None where some image's labels were not looked at so.
    """

    def __init__(self, total: int | None = 0) -> None:
        self.total = total

    @classmethod
    def of(cls, fingerprints: Iterable[int]) -> LabelContent:
        """That of images with these fingerprints."""
        return cls(sum(map(int, fingerprints)) % _MODULUS)

    @classmethod
    def from_state(cls, state: Mapping[str, Any], *, counted: bool) -> LabelContent:
        """What :meth:`state` wrote; states of earlier releases do not know their images' labels."""
        if "label_content" in state:
            return cls(int(state["label_content"]) % _MODULUS)
        return cls(None if counted else 0)

    def state(self) -> dict[str, np.ndarray[Any, Any]]:
        """As a plain array; nothing where it is not known."""
        return {} if self.total is None else {"label_content": np.array(self.total)}

    def add(self, pixels: np.ndarray[Any, Any]) -> None:
        """An image with these pixels by true class."""
        self.merge(LabelContent(label_fingerprint(pixels)))

    def forget(self) -> None:
        """There are separate points among what is counted."""
        self.total = None

    def merge(self, other: LabelContent) -> None:
        """The images of ``other``, too."""
        totals = [part.total for part in (self, other) if part.total is not None]
        self.total = sum(totals) % _MODULUS if len(totals) == 2 else None


def label_fingerprint(pixels: np.ndarray[Any, Any]) -> int:
    """A hash of an image's pixels by true class, below ``2**63``: the same on every machine."""
    counts = np.ascontiguousarray(pixels, dtype="<i8")
    digest = hashlib.blake2b(counts.tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % _MODULUS
