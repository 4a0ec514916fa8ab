"""Finds the scripts in a host's folder that a recipe is for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from conformal_plugin.adapters.patching._patching import Patch, patch
from conformal_plugin.adapters.patching._recipe import Recipe
from conformal_plugin.adapters.patching._script_files import find_script
from conformal_plugin.errors import SourceFileError

__all__ = ["HostScript", "host_scripts"]


@dataclass(frozen=True)
class HostScript:
    """A script of the host's folder, and what it becomes.

    Attributes:
        name: its path in the host's folder.
        path: the file behind it.
        patch: the edit.
    """

    name: str
    path: Path
    patch: Patch


def host_scripts(folder: Path, names: Sequence[str], recipes: Sequence[Recipe]) -> list[HostScript]:
    """The scripts of a host's folder that a recipe is for.

    Args:
        folder: the host's.
        names: scripts to look at alone; a name that no recipe has is tried with all of them. None
            given: all scripts there with the name of a recipe.
        recipes: all that are known.

    Raises:
        SourceFileError: there is no such script.
    """
    known = list(dict.fromkeys(recipe.script for recipe in recipes))
    wanted = list(names) or [name for name in known if (folder / name).is_file()]
    if not wanted:
        raise SourceFileError(
            f"no script that is known lies in {folder}: looked for {', '.join(known)}"
            f"{_deeper(folder, known)}; name a renamed script with --script"
        )
    found: dict[Path, HostScript] = {}
    for name in wanted:
        path = find_script(folder, name)
        own = [recipe for recipe in recipes if recipe.script == Path(name).name]
        found.setdefault(path, HostScript(name, path, patch(path.read_bytes(), own or recipes)))
    return list(found.values())


def _deeper(folder: Path, known: Sequence[str]) -> str:
    below = sorted({path.parent.as_posix() for name in known for path in folder.glob(f"*/{name}")})
    return f" (there are some in {', '.join(below)})" if below else ""
