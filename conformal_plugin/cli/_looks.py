"""The record of a growing set: which images each look has seen, and what was asked of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from conformal_plugin._atomic import atomic_write_text
from conformal_plugin._json import parsed
from conformal_plugin._messages import shortened, shown
from conformal_plugin.errors import CalibrationFileError, OptionError

__all__ = ["LookRecord"]

_FORMAT = "conformal-plugin looks"
_VERSION = 1


class LookRecord:
    """A file that holds the ids of every look, so that images are bet on in the order they came.

    Args:
        path: the file; made by the first look.
        settings: what a promise over all looks was made for; plain JSON values.

    Raises:
        CalibrationFileError: a file that is no such record.
        OptionError: looks at other settings.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self._settings = json.loads(json.dumps(settings))
        self.looks: list[list[str]] = self._read() if path.exists() else []

    def check(self, ids: Sequence[str]) -> None:
        """Refuse a set that has lost images.

        Raises:
            OptionError: an image of an earlier look is not among the ids.
        """
        known = set(ids)
        lost = [name for look in self.looks for name in look if name not in known]
        if lost:
            raise OptionError(
                f"{len(lost)} images of earlier looks, {lost[0]} among them, are not in --ids: "
                f"what was bet on stays; put them back, or start anew with another file than "
                f"{self.path}"
            )

    def add(self, ids: Sequence[str]) -> None:
        """Write the look that has just been taken; nothing where it saw no new image."""
        before = {name for look in self.looks for name in look}
        new = [name for name in ids if name not in before]
        if new:
            content = {
                "format": _FORMAT,
                "version": _VERSION,
                "settings": self._settings,
                "looks": [*self.looks, new],
            }
            atomic_write_text(self.path, json.dumps(content, indent=1) + "\n")

    def _read(self) -> list[list[str]]:
        try:
            content = parsed(self.path.read_text(encoding="utf-8"))
            known = (content["format"], content["version"]) == (_FORMAT, _VERSION)
            settings, looks = content["settings"], content["looks"]
            sound = all(isinstance(name, str) for look in looks for name in look)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CalibrationFileError(
                f"cannot read the looks in {self.path} ({shortened(error)}); name a file that "
                f"--looks has written, or one that does not exist"
            ) from error
        if not known or not sound:
            raise CalibrationFileError(
                f"{self.path} holds no looks of this release; name a file that --looks has "
                f"written, or one that does not exist"
            )
        if settings != self._settings:
            different = ", ".join(
                f"{name} was {shown(settings.get(name))} and is {shown(mine)}"
                for name, mine in self._settings.items()
                if settings.get(name) != mine
            )
            raise OptionError(
                f"the looks in {self.path} are of other settings ({different}): a promise over "
                f"several looks is made once; keep the settings, or start anew on new images"
            )
        return [list(look) for look in looks]
