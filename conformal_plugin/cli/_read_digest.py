"""What a calibration was made from, in two numbers that a later run can compare."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformal_plugin._atomic import atomic_write_text
from conformal_plugin._json import parsed
from conformal_plugin._sealed import sealed
from conformal_plugin.calibration import MADE_FOR, READ, Calibration

__all__ = ["ReadDigest"]

_BITS = 128


@dataclass
class ReadDigest:
    """The ids, scores and labels that were read; the same in whatever order, on however many ranks.

    Formats without a checksum (``.npy``, ``.safetensors``, JPEG) do not tell damage; a calibration
    made again from damaged files does, by this.

    Attributes:
        images: how many there were.
        ids: a sum over their ids.
        values: a sum over their ids with the checksums of what was read under them.
    """

    images: int = 0
    ids: int = 0
    values: int = 0

    def add(self, name: str, *checksums: int) -> None:
        """Take an image into account."""
        self.images += 1
        self.ids = (self.ids + _hashed(name)) % 2**_BITS
        self.values = (self.values + _hashed(name, *checksums)) % 2**_BITS

    def merge(self, other: ReadDigest) -> None:
        """Add what another rank has read."""
        self.images += other.images
        self.ids = (self.ids + other.ids) % 2**_BITS
        self.values = (self.values + other.values) % 2**_BITS

    def content(self) -> dict[str, Any]:
        """Plain values for JSON."""
        digits = _BITS // 4
        return {
            "images": self.images,
            "ids": f"{self.ids:0{digits}x}",
            "values": f"{self.values:0{digits}x}",
        }

    def to_text(self) -> str:
        """As text, which :meth:`of_text` reads."""
        return json.dumps([self.images, f"{self.ids:x}", f"{self.values:x}"])

    @classmethod
    def of_text(cls, text: str) -> ReadDigest:
        """What :meth:`to_text` gave."""
        images, ids, values = json.loads(text)
        return cls(int(images), int(ids, 16), int(values, 16))

    def save(self, calibration: Calibration, path: Path, annotator: str | None) -> None:
        """Write a calibration with what it was made from.

        Args:
            calibration: what to write.
            path: where to.
            annotator: the digest of the maps' annotator, where they name one.
        """
        content = {**json.loads(calibration.to_json()), READ: self.content()}
        if annotator is not None:
            content[MADE_FOR] = annotator
        atomic_write_text(path, sealed(content))

    def differs_from(self, path: Path) -> bool:
        """Whether a calibration is there that was made of the same ids and other values."""
        try:
            theirs = parsed(path.read_text(encoding="utf-8"))[READ]
            images, ids, values = (theirs[name] for name in ("images", "ids", "values"))
        except (OSError, ValueError, KeyError, TypeError):  # nothing to compare
            return False
        ours = self.content()
        return (images, ids) == (ours["images"], ours["ids"]) and values != ours["values"]


def _hashed(*parts: Any) -> int:
    return int.from_bytes(hashlib.sha256(json.dumps(parts).encode()).digest()[: _BITS // 8], "big")
