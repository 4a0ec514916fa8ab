"""Finds the scripts in a host's folder that can be patched, and how each of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from conformal_plugin.adapters.patching._patching import Patch, marked_lines, patch
from conformal_plugin.adapters.patching._recipe import Recipe
from conformal_plugin.adapters.patching._script_files import find_script, scripts_below
from conformal_plugin.adapters.patching._source_patch import goes_on_beside, patch_labels
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
    """The scripts of a host's folder that can be patched, or that were named.

    A script that is a known host's takes that host's recipe. Any other is read for the place where
    it makes its pseudo-labels.

    Args:
        folder: the host's.
        names: scripts to look at alone. None given: those with the name of a recipe, and all others
            in ``folder`` and below that train on unlabelled photos in a way that is certain.
        recipes: all that are known.

    Raises:
        SourceFileError: there is no such script.
    """
    known = list(dict.fromkeys(recipe.script for recipe in recipes))
    found: dict[Path, HostScript] = {}
    for name in names or [name for name in known if (folder / name).is_file()]:
        path = find_script(folder, name)
        found.setdefault(path, HostScript(name, path, patch_script(path, recipes)))
    if not names:
        for path in scripts_below(folder):
            if path.resolve() not in found and _may_train(path):
                made = patch_script(path, recipes)
                if made.after is not None:
                    name = path.relative_to(folder).as_posix()
                    real = find_script(folder, name)
                    found.setdefault(real, HostScript(name, real, made))
    if not found:
        raise SourceFileError(
            f"no script that is known lies in {folder} ({', '.join(known)}), and none there or "
            "below makes the labels of unlabelled photos in a way that is certain; name the "
            "training script with --script to see what is missing in it"
        )
    return list(found.values())


def patch_script(path: Path, recipes: Sequence[Recipe]) -> Patch:
    """What a script becomes: by the recipe of the host that it is, or where it makes its labels."""
    source = path.read_bytes()
    own = [recipe for recipe in recipes if recipe.script == path.name] or list(recipes)
    by_recipe = patch(source, own)
    notes = () if by_recipe.after is None else goes_on_beside(by_recipe.before, by_recipe.recipe)
    if by_recipe.after is not None and not notes:
        return by_recipe
    at_labels = patch_labels(source)
    if at_labels.after is not None:
        return at_labels
    if by_recipe.after is not None:
        return replace(by_recipe, notes=notes)
    # Of a script that was patched by a recipe, the recipe knows what was done to its lines.
    inserted = source.splitlines()
    is_hosts = any(
        line.encode() in inserted[number - 1]
        for number in marked_lines(source)
        for line in by_recipe.recipe.imports
    )
    return by_recipe if is_hosts or by_recipe.fits else at_labels


def _may_train(path: Path) -> bool:
    """Whether a script is worth reading for a training loop."""
    try:
        return b"backward(" in path.read_bytes()
    except OSError:
        return False
