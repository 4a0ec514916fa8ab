"""Label maps in JSON files."""

from __future__ import annotations

import os
from pathlib import Path

from conformal_plugin._json import parsed
from conformal_plugin._messages import shortened
from conformal_plugin.errors import OptionError, SourceFileError
from conformal_plugin.scores import LabelMap

__all__ = ["read_label_map"]


def read_label_map(given: str | os.PathLike[str]) -> LabelMap:
    """A label map by its name, by its entries, or from a JSON file.

    Args:
        given: what :meth:`conformal_plugin.LabelMap.of` reads, or a file with an object such as
            ``{"0": "ignore", "7": 0, "8": 1, "*": "ignore"}`` or ``{"#804080": 0}``.

    Raises:
        OptionError: neither; or entries that mean nothing.
        SourceFileError: a file that cannot be read.
    """
    path = Path(given)
    if path.suffix != ".json" and not path.is_file():
        return LabelMap.of(str(given))
    try:
        content = parsed(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise SourceFileError(f"cannot read the label map {path} ({shortened(error)})") from error
    if not isinstance(content, dict):
        raise SourceFileError(
            f'the label map {path} is no JSON object; write {{"0": "ignore", "7": 0}}, for instance'
        )
    try:
        return LabelMap(content)
    except OptionError as error:
        raise OptionError(f"the label map {path}: {error}") from error
