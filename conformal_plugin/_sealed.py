"""A checksum over all that a file of JSON says: a digit that flips is still JSON."""

from __future__ import annotations

import json
import zlib
from collections.abc import Collection, Mapping
from typing import Any, Final

from conformal_plugin._messages import shortened

__all__ = ["refuse_changed", "sealed"]

_CHECKSUM: Final = "checksum"


def sealed(content: Mapping[str, Any]) -> str:
    """A file's text, with its checksum as the last field.

    Args:
        content: all that it is to say; plain JSON values.
    """
    whole = {**content, _CHECKSUM: _checksum(content)}
    return json.dumps(whole, indent=2, allow_nan=False) + "\n"


def refuse_changed(content: Mapping[str, Any], known: Collection[str], remedy: str) -> None:
    """Compare what a file says with its checksum; files of earlier releases have none.

    Args:
        content: all that the file says.
        known: the fields that there may be without a checksum: another one may be what damage has
            made of it.
        remedy: how to make the file again.

    Raises:
        ValueError: they do not fit.
    """
    given = content.get(_CHECKSUM)
    if given is None:
        unknown = sorted(set(content).difference(known))
        if unknown:
            raise ValueError(
                f"it has no {_CHECKSUM}, and a field {shortened(unknown[0])} that no release "
                f"writes, so that it was damaged, or edited by hand: {remedy}, or delete that "
                f"field where the edit is meant"
            )
        return
    rest = {name: value for name, value in content.items() if name != _CHECKSUM}
    if given != _checksum(rest):
        raise ValueError(
            f"its values do not fit its {_CHECKSUM}, so that one was damaged, or edited by hand: "
            f"{remedy}, or delete the field {_CHECKSUM!r} where the edit is meant"
        )


def _checksum(content: Mapping[str, Any]) -> str:
    """CRC-32 of the values, however they are laid out: spaces and the order of fields are free."""
    try:
        plain = json.dumps(content, sort_keys=True, separators=(",", ":"))
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return f"{zlib.crc32(plain.encode()):08x}"
