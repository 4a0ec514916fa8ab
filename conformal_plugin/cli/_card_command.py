"""``conformal-plugin card``: a calibration and its labels as a folder for others."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final

from conformal_plugin._json import parsed
from conformal_plugin.annotators import class_list
from conformal_plugin.calibration import Calibration
from conformal_plugin.cli._label_folder import MANIFEST, made_with
from conformal_plugin.cli._progress import progress
from conformal_plugin.cli._report import note, print_json
from conformal_plugin.errors import OptionError
from conformal_plugin.files import MapStore, find_files, ids_in_folder, label_suffixes
from conformal_plugin.hub import LabelSet, share

__all__ = ["run"]

_SAME: Final = ("qhat", "alpha", "cap")
"""What labels have from their calibration."""


def run(arguments: argparse.Namespace) -> None:
    """Write the folder, and print how it is shared and used."""
    Calibration.load(arguments.calibration)  # before labels are looked for
    labels = None if arguments.labels is None else _labels(arguments)
    shared = share(
        arguments.out,
        arguments.calibration,
        title=arguments.title,
        license=arguments.license,
        class_names=None if arguments.names is None else class_list(arguments.names).class_names,
        maps=None if arguments.maps is None else MapStore.open(arguments.maps),
        labels=labels,
        follow=lambda files: progress(files, "card", total=len(files), quiet=arguments.quiet),
    )
    kind = "model" if labels is None else "dataset"
    if arguments.license is None:
        note(
            "no license is stated, so that nobody knows whether it may be used; --license states "
            "one",
            quiet=arguments.quiet,
        )
    if arguments.json:
        content = {"folder": str(shared.folder), "repo_type": kind}
        print_json({**content, "files": list(shared.contents.files)})
        return
    beside = "" if labels is None else f", {len(labels.files)} labels"
    print(f"{shared.folder}: the calibration{beside}, a card, a digest of each file")
    print(f"To the Hub: hf upload OWNER/NAME {shared.folder} . --repo-type {kind}")


def _labels(arguments: argparse.Namespace) -> LabelSet:
    """The labels of the folder, which this calibration made.

    Raises:
        OptionError: another one made them, or nobody knows.
    """
    folder: Path = arguments.labels
    made = made_with(folder)
    theirs = parsed(arguments.calibration.read_text(encoding="utf-8"))
    if not made or made.get("qhat") is None:
        raise OptionError(
            f"{folder} does not hold labels that `conformal-plugin filter` made with a "
            f"calibration ({MANIFEST} says so); share the labels that are kept by it, or none"
        )
    different = [name for name in _SAME if made.get(name) != theirs.get(name)]
    if different:
        raise OptionError(
            f"the labels in {folder} were made with another calibration than "
            f"{arguments.calibration} ({', '.join(different)}); name the one that made them, or "
            f"filter again"
        )
    suffixes = label_suffixes(folder)
    paths = find_files(folder, ids_in_folder(folder, suffixes, "label"), suffixes, "label")
    return LabelSet(
        {path.relative_to(folder).as_posix(): path for path in paths},
        dropped=made["ignore_index"],
        classes="own_numbers" not in made,
        remarks=made.get("remarks", ()),
        beside={MANIFEST: folder / MANIFEST},
    )
