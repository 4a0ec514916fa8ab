"""How much memory a map may take: said before it is taken."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from conformal_plugin.errors import SourceFileError

__all__ = ["LARGEST_MAP_BYTES", "require_room"]

LARGEST_MAP_BYTES: Final = 2**31
"""The largest map that is read unless more is asked for, such as 150 classes of 1,300 x 2,700
pixels in float32. A packed file of a thousandth of that can ask for it, and a few maps are held at
once."""


def require_room(size: int, path: Path, max_bytes: int) -> None:
    """Refuse a map that takes more than ``max_bytes`` in memory.

    Raises:
        SourceFileError: with both, and what to do.
    """
    if size > max_bytes:
        raise SourceFileError(
            f"the map {path} takes {size} bytes in memory, and at most {max_bytes} are read: is it "
            f"damaged? If not, raise max_bytes (--max-map-bytes on the command line), or store "
            f"float16 or fewer pixels"
        )
