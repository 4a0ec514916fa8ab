"""``conformal-plugin doctor``: all that can be checked before a host's run starts."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from conformal_plugin.adapters.patching import known_recipes
from conformal_plugin.cli._progress import progress
from conformal_plugin.cli._report import print_json
from conformal_plugin.doctor import Case, Finding, Level, all_checks, diagnose, read_config
from conformal_plugin.errors import OptionError, SourceFileError
from conformal_plugin.files import read_label_map

__all__ = ["run"]

_LEVELS: tuple[Level, ...] = ("ok", "not made", "warning", "error")


def run(arguments: argparse.Namespace) -> None:
    """Make every check and print what was found; raise where something is wrong.

    Raises:
        SourceFileError: at least one finding is an error, or the config cannot be read.
    """
    if not arguments.host.is_dir():
        raise SourceFileError(f"the host's folder {arguments.host} is not a folder; check the path")
    if arguments.sample < 1:
        raise OptionError(f"--sample must be a whole number from 1, got {arguments.sample}")

    def shown(items: Sequence[Any], title: str) -> Iterable[Any]:
        return progress(items, title, total=len(items), quiet=arguments.quiet)

    host, lists = arguments.host, (arguments.labeled_id_path, arguments.unlabeled_id_path)
    labelled, unlabelled = (None if path is None else _found(host, path) for path in lists)
    case = Case(
        host=host,
        cfg=read_config(_found(host, arguments.config)),
        recipes=known_recipes(),
        script_names=arguments.script,
        labelled_list=labelled,
        unlabelled_list=unlabelled,
        sample=arguments.sample,
        label_map=None if arguments.label_map is None else read_label_map(arguments.label_map),
        progress=shown,
    )
    findings = diagnose(case, all_checks())
    number = {level: sum(f.level == level for f in findings) for level in _LEVELS}
    if arguments.json:
        print_json({"findings": [vars(finding) for finding in findings], "number": number})
    else:
        _print(findings, quiet=arguments.quiet)
    if number["error"]:
        raise SourceFileError(
            f"errors: {number['error']}, warnings: {number['warning']}; repair the errors before "
            "this run starts"
        )


def _found(host: Path, path: Path) -> Path:
    """A path as typed; where only that exists, as seen from the scripts' folder."""
    return host / path if not path.exists() and (host / path).exists() else path


def _print(findings: Sequence[Finding], *, quiet: bool) -> None:
    for level in _LEVELS:
        group = [finding for finding in findings if finding.level == level]
        if not group or (quiet and level in ("ok", "not made")):
            continue
        print(f"{level} ({len(group)})")
        if level == "not made":
            _print_not_made(group)
        else:
            for finding in group:
                print(f"  - {finding.text}")
                if finding.remedy:
                    print(f"    -> {finding.remedy}")
        print()


def _print_not_made(group: Sequence[Finding]) -> None:
    """By reason, since one missing list is the reason of many."""
    for reason in dict.fromkeys(finding.text for finding in group):
        names = ", ".join(finding.check for finding in group if finding.text == reason)
        print(f"  - {reason}: {names}")
