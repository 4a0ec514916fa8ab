"""Whose the maps of a folder are: which images made them, and which calibrations are for them."""

from __future__ import annotations

import argparse
from pathlib import Path

from conformal_plugin._json import parsed
from conformal_plugin.calibration import MADE_FOR
from conformal_plugin.cli._report import note
from conformal_plugin.combining import FITTED_ON
from conformal_plugin.errors import OptionError
from conformal_plugin.files import STORE_MANIFEST, IdList, MapStore

__all__ = ["annotator_of", "refuse_other_maps", "without_fitted"]


def annotator_of(folder: Path) -> str | None:
    """The digest of a store's annotator, for JSON; None for other folders, which name none."""
    if not (folder / STORE_MANIFEST).exists():
        return None
    return MapStore.open(folder).digest.hex()


def without_fitted(arguments: argparse.Namespace, ids: IdList) -> IdList:
    """The ids without those that the annotator of ``--maps`` was fitted on.

    Raises:
        OptionError: ``--ids`` names one of them, or none is left.
    """
    if not (arguments.maps / STORE_MANIFEST).exists():
        return ids
    fitted = frozenset(MapStore.open(arguments.maps).annotator.get(FITTED_ON, ()))
    seen = [name for name in ids if name in fitted]
    if not seen:
        return ids
    if arguments.ids is not None:
        raise OptionError(
            f"{len(seen)} of the images of --ids, {seen[0]} among them, were used to fit the "
            f"annotator of {arguments.maps}, so that its scores are better there than on any other "
            f"image, and nothing that is found on them holds elsewhere; take them off the list"
        )
    left = ids.take([i for i, name in enumerate(ids) if name not in fitted])
    if not len(left):
        raise OptionError(
            f"all {len(seen)} maps of {arguments.maps} are of images that its annotator was fitted "
            f"on; label others, or fit it on a part of these"
        )
    note(
        f"{len(seen)} images that the annotator of {arguments.maps} was fitted on are left out",
        quiet=arguments.quiet,
    )
    return left


def refuse_other_maps(calibration: Path, annotator: str | None, maps: str) -> None:
    """Refuse a calibration that was made on maps of another annotator, where both are known.

    Args:
        calibration: the file, which is one.
        annotator: the digest of the annotator of the maps at hand.
        maps: what these are called in the message.

    Raises:
        OptionError: the annotators differ.
    """
    theirs = parsed(calibration.read_text(encoding="utf-8")).get(MADE_FOR)
    if annotator is not None and theirs is not None and theirs != annotator:
        raise OptionError(
            f"{calibration} was made on maps of another annotator (or of the same with other "
            f"weights, prompts or settings) than {maps}, and promises nothing about these; "
            f"calibrate on maps of this annotator"
        )
