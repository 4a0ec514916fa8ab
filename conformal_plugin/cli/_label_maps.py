"""From ``--label-map`` and a calibration to what the values of masks mean."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from conformal_plugin.calibration import Calibration
from conformal_plugin.errors import OptionError
from conformal_plugin.files import LabelReader, read_label_map
from conformal_plugin.scores import LabelMap

__all__ = ["label_map_of", "label_reader", "refuse_train_ids"]

_TRAIN_IDS = "labelTrainIds"


def label_map_of(arguments: argparse.Namespace, qhat: Any = None) -> LabelMap | None:
    """What was typed, or what the calibration holds; None where values are classes.

    Raises:
        OptionError: the two contradict each other, or it is no label map.
        SourceFileError: its file cannot be read.
    """
    given = None if arguments.label_map is None else read_label_map(arguments.label_map)
    made = qhat.label_map if isinstance(qhat, Calibration) else None
    if None not in (given, made) and given != made:
        raise OptionError(
            f"--label-map is {given} and {arguments.calibration} was made with {made}; leave the "
            f"option out, or calibrate with this one"
        )
    return made if given is None else given


def label_reader(arguments: argparse.Namespace, qhat: Any = None) -> LabelReader:
    """Reads the true masks of a command.

    Args:
        arguments: with ``label_map`` and ``ignore_index``.
        qhat: the calibration, where there is one already.
    """
    ignore_index = 255 if arguments.ignore_index is None else arguments.ignore_index
    if isinstance(qhat, Calibration):
        ignore_index = qhat.ignore_index
    return LabelReader(label_map_of(arguments, qhat), ignore_index)


def refuse_train_ids(arguments: argparse.Namespace, paths: Sequence[Path]) -> None:
    """Refuse to take the trainIds of Cityscapes for ids: some numbers are both.

    Raises:
        OptionError: names a mask.
    """
    ids = arguments.label_map == "cityscapes"
    found = next((path for path in paths if ids and path.stem.endswith(_TRAIN_IDS)), None)
    if found is not None:
        raise OptionError(
            f"--label-map cityscapes is from ids to trainIds, and {found.name} holds trainIds "
            f"already; leave it out, or read the ids with --label-suffix _gtFine_labelIds"
        )
