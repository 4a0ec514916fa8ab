"""What a command says: JSON on stdout, notes and warnings on stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from conformal_plugin._json import plain

__all__ = ["note", "number", "print_json", "warn", "warn_of"]


def print_json(content: Mapping[str, Any]) -> None:
    """Print one JSON object; infinite numbers become strings, NaN becomes null."""
    print(json.dumps(plain(content), indent=2, allow_nan=False))


def note(text: str, *, quiet: bool) -> None:
    """Print a remark on stderr unless ``quiet``."""
    if not quiet:
        print(f"note: {text}", file=sys.stderr)


def warn(text: str) -> None:
    """Print on stderr what the user must know, quiet or not."""
    print(f"warning: {text}", file=sys.stderr)


def warn_of(doubts: Iterable[str]) -> None:
    """Print several remarks that the user must know."""
    for text in doubts:
        warn(text)


def number(value: float) -> str:
    """A share or score for a table: four digits, a dash for NaN."""
    return "-" if math.isnan(value) else f"{value:.4f}"
