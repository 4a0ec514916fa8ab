"""``conformal-plugin patch``: the edit of a host's scripts, shown, applied or taken back."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conformal_plugin.adapters.loop import HOST_KEY, HostConfig
from conformal_plugin.adapters.patching import (
    Change,
    HostScript,
    alone_in,
    backups,
    drop_backups,
    find_script,
    host_scripts,
    manual_steps,
    marked_lines,
    remove,
    scripts_below,
    unified,
    write_all,
)
from conformal_plugin.cli._report import note, print_json
from conformal_plugin.errors import OptionError, SourceFileError

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> None:
    """Print the difference, apply it, take it back, or print the block for the YAML."""
    if arguments.print_config:
        print(HostConfig.default_yaml(), end="")
        return
    if arguments.host is None:
        raise OptionError("say which folder holds the host's scripts: conformal-plugin patch DIR")
    if not arguments.host.is_dir():
        raise SourceFileError(f"the host's folder {arguments.host} is not a folder; check the path")
    work = _undo if arguments.undo else _show_or_apply
    if arguments.undo or arguments.apply:
        with alone_in(arguments.host):
            work(arguments)
    else:
        work(arguments)


def _show_or_apply(arguments: argparse.Namespace) -> None:
    # Host modules load torch, which taking an edit back has no need of.
    from conformal_plugin.adapters.patching import find_traps, known_recipes

    scripts = host_scripts(arguments.host, arguments.script, known_recipes())
    refused = [script for script in scripts if script.patch.after is None]
    if refused:
        _refuse(arguments, refused, len(scripts))
    changes = [
        Change(script.path, script.patch.before, script.patch.after)
        for script in scripts
        if script.patch.after is not None and not script.patch.already
    ]
    if arguments.apply:
        write_all(changes, keep_backups=True)
    entries = [_entry(script, applied=arguments.apply) for script in scripts]
    if arguments.json:
        print_json({"host": str(arguments.host), "applied": arguments.apply, "scripts": entries})
    elif arguments.apply:
        for entry in entries:
            print(f"{entry['script']}: {entry['state']} ({entry['host']})")
    else:
        for entry in entries:
            if entry["diff"]:
                print(entry["diff"], end="")
            else:
                note(f"{entry['script']} is patched already", quiet=arguments.quiet)
    for script in scripts:
        for left in script.patch.notes:
            note(f"{script.name}, {left}", quiet=arguments.quiet)
        for trap in find_traps(script.patch.recipe, script.patch.before, {}):
            where = f"{script.name}, `{trap.text}`"
            note(f"{where}: {trap.advice}", quiet=arguments.quiet)
    _say_what_is_next(arguments, changes)


def _entry(script: HostScript, *, applied: bool) -> dict[str, Any]:
    result = script.patch
    after = result.after or b""
    state = f"{result.added} lines added" if applied else f"{result.added} lines to add"
    return {
        "script": script.name,
        "host": result.recipe.host,
        "state": "patched already" if result.already else state,
        "lines": result.added,
        "notes": list(result.notes),
        "diff": "" if result.already else unified(result.before, after, script.name),
        "backups": [path.name for path in backups(script.path)],
    }


def _refuse(arguments: argparse.Namespace, refused: Sequence[HostScript], total: int) -> None:
    """Print the manual steps and raise."""
    if arguments.json:
        entries = [
            {
                "script": script.name,
                "host": script.patch.recipe.host,
                "problems": script.patch.problems,
                "manual_steps": manual_steps(script.patch, script.name),
            }
            for script in refused
        ]
        print_json({"host": str(arguments.host), "applied": False, "refused": entries})
    else:
        for script in refused:
            print(manual_steps(script.patch, script.name))
    names = ", ".join(script.name for script in refused)
    rest = ""
    if len(refused) < total:
        rest = "; to patch the others, name them with --script"
    raise SourceFileError(
        f"{names} cannot be patched by this command, so no script was changed: see the steps{rest}"
    )


def _say_what_is_next(arguments: argparse.Namespace, changes: Sequence[Change]) -> None:
    host = arguments.host
    if not arguments.apply:
        if changes:
            text = f"nothing is written yet: conformal-plugin patch {host} --apply"
            note(text, quiet=arguments.quiet)
        return
    note(
        f"next, in the YAML of the run: the key `{HOST_KEY}:`, see `conformal-plugin patch "
        "--print-config`; without it a patched script trains as it did before",
        quiet=arguments.quiet,
    )
    note(
        f"then, before training: conformal-plugin doctor {host} --config CONFIG.yaml "
        "--labeled-id-path LIST --unlabeled-id-path LIST",
        quiet=arguments.quiet,
    )


def _undo(arguments: argparse.Namespace) -> None:
    below = scripts_below(arguments.host)
    names = arguments.script or [path.relative_to(arguments.host).as_posix() for path in below]
    scripts = {}
    for name in names:
        if arguments.script or _is_touched(arguments.host / name):
            scripts[find_script(arguments.host, name)] = name
    changes, problems = [], []
    for path, name in scripts.items():
        before = path.read_bytes()
        removal = remove(before)
        if removal.problem:
            problems.append(f"{name}: {removal.problem}; its backups: {_names(backups(path))}")
        elif removal.lines:
            changes.append(Change(path, before, removal.after))
    if problems:
        raise SourceFileError(
            f"nothing was changed, since inserted lines were edited. {'. '.join(problems)}"
        )
    write_all(changes, keep_backups=False)
    entries = []
    for path, name in scripts.items():
        kept = drop_backups(path)
        lines = [len(marked_lines(c.before)) for c in changes if c.path == path]
        entries.append(
            {"script": name, "lines": sum(lines), "backups": [other.name for other in kept]}
        )
    if arguments.json:
        print_json({"host": str(arguments.host), "undone": entries})
        return
    if not entries:
        print(f"no script in {arguments.host} is patched")
    for entry in entries:
        print(f"{entry['script']}: {entry['lines']} lines taken out")
        if entry["backups"]:
            kept_names = ", ".join(entry["backups"])
            note(
                f"{entry['script']} is not what it was before the patch (it was edited since), so "
                f"{kept_names} stays",
                quiet=arguments.quiet,
            )


def _is_touched(path: Path) -> bool:
    return path.is_file() and bool(marked_lines(path.read_bytes()) or backups(path.resolve()))


def _names(paths: Sequence[Path]) -> str:
    return ", ".join(path.name for path in paths) or "none"
