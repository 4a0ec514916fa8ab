"""The edit that plugs a loop object into a host's script: planned, shown, applied, undone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformal_plugin._lazy import lazily

if TYPE_CHECKING:
    from conformal_plugin.adapters.patching._alone import (
        alone_in as alone_in,
    )
    from conformal_plugin.adapters.patching._host_scripts import (
        HostScript as HostScript,
        host_scripts as host_scripts,
    )
    from conformal_plugin.adapters.patching._known_hosts import (
        Trap as Trap,
        find_traps as find_traps,
        known_recipes as known_recipes,
    )
    from conformal_plugin.adapters.patching._loop_recipe import (
        loop_recipe as loop_recipe,
    )
    from conformal_plugin.adapters.patching._patching import (
        Patch as Patch,
        Removal as Removal,
        manual_steps as manual_steps,
        marked_lines as marked_lines,
        patch as patch,
        remove as remove,
        unified as unified,
    )
    from conformal_plugin.adapters.patching._recipe import (
        Insertion as Insertion,
        Recipe as Recipe,
    )
    from conformal_plugin.adapters.patching._script_files import (
        Change as Change,
        backups as backups,
        drop_backups as drop_backups,
        find_script as find_script,
        scripts_below as scripts_below,
        write_all as write_all,
    )
    from conformal_plugin.adapters.patching._source_patch import (
        AT_THEIR_SOURCE as AT_THEIR_SOURCE,
        patch_labels as patch_labels,
    )

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "_alone": ("alone_in",),
        "_host_scripts": (
            "HostScript",
            "host_scripts",
        ),
        "_known_hosts": (
            "Trap",
            "find_traps",
            "known_recipes",
        ),
        "_loop_recipe": ("loop_recipe",),
        "_patching": (
            "Patch",
            "Removal",
            "manual_steps",
            "marked_lines",
            "patch",
            "remove",
            "unified",
        ),
        "_recipe": (
            "Insertion",
            "Recipe",
        ),
        "_script_files": (
            "Change",
            "backups",
            "drop_backups",
            "find_script",
            "scripts_below",
            "write_all",
        ),
        "_source_patch": (
            "AT_THEIR_SOURCE",
            "patch_labels",
        ),
    },
)
