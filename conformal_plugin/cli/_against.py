"""What a report is compared with: another calibration's labels, or those of a folder."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from conformal_plugin.calibration import Calibration
from conformal_plugin.cli._inputs import naming, naming_of
from conformal_plugin.cli._label_maps import label_reader
from conformal_plugin.cli._painting import Painter
from conformal_plugin.cli._progress import progress
from conformal_plugin.errors import LabelError, OptionError
from conformal_plugin.evaluation import Evaluator
from conformal_plugin.files import IdList, LazySequence, find_files, label_suffixes
from conformal_plugin.labelling import promised_rule
from conformal_plugin.reporting import OtherLabels

__all__ = ["Against"]

_HALF = 0.5


class Against:
    """The labels to compare with, measured on the images of the report.

    Args:
        arguments: of the report; ``against`` is a calibration's file, or a folder of labels.
        ids: the images.
        maps: their scores.
        calibration: of the report.

    Raises:
        OptionError: a calibration of other classes or another ignore index.
        CalibrationFileError, SourceFileError: a file that cannot be read.
    """

    def __init__(
        self,
        arguments: argparse.Namespace,
        ids: IdList,
        maps: LazySequence[Any],
        calibration: Calibration,
    ) -> None:
        path: Path = arguments.against
        self._arguments, self._ids, self._maps = arguments, ids, maps
        self.name = path.name
        self.paths: list[Path] = [path]
        self._classes, self._ignore = calibration.num_classes, calibration.ignore_index
        self._calibration: Calibration | None = None
        if path.is_dir():
            kinds = label_suffixes(path)
            self.paths = find_files(path, ids, kinds, "label", naming_of(arguments))
            self._labels = LazySequence(label_reader(arguments, calibration), self.paths)
            return
        other = self._calibration = Calibration.load(path)
        if (other.num_classes, other.ignore_index) != (self._classes, self._ignore):
            raise OptionError(
                f"{path} is of {other.num_classes} classes with the ignore index "
                f"{other.ignore_index}, and the report of {self._classes} with {self._ignore}; "
                f"compare calibrations of the same labels"
            )
        rule, background = promised_rule(other, None, None)
        self._painter = Painter(other, rule, background, follow_exif=arguments.follow_exif)

    def measured(self, labels: LazySequence[Any]) -> OtherLabels:
        """What its labels are worth on all images."""
        qhat: Any = self._calibration or _HALF
        rule = None if self._calibration is not None else "most-probable"
        evaluator = Evaluator(qhat, rule=rule, ignore_index=self._ignore)
        maps = self._maps if self._calibration is not None else self._labels.then(self._certain)
        pairs = progress(
            zip(self._ids, maps, labels),
            "report, against",
            total=len(self._ids),
            quiet=self._arguments.quiet,
        )
        for name, scores, truth in pairs:
            with naming(name):
                evaluator.update(scores, truth)
        return OtherLabels(self.name, evaluator.result(), self._calibration)

    def layers(self, number: int) -> dict[str, np.ndarray[Any, Any]]:
        """Its labels of an image, under its name."""
        if self._calibration is None:
            labels = np.asarray(self._labels[number])
            return {self.name: labels[len(labels) // 2] if labels.ndim == 3 else labels}
        return {self.name: self._painter.layers(self._maps[number])["kept"]}

    def _certain(self, labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Scores that say a label, and nothing where none is kept."""
        kept = labels != self._ignore
        if kept.any() and not 0 <= labels[kept].min() <= labels[kept].max() < self._classes:
            raise LabelError(
                f"the labels of {self._arguments.against} hold {labels[kept].max()}, and there "
                f"are {self._classes} classes; compare labels of the same classes"
            )
        classes = np.arange(self._classes).reshape(-1, *(1,) * labels.ndim)
        scores: np.ndarray[Any, Any] = (labels == classes).astype(np.float16)
        return scores[None] if labels.ndim == 3 else scores
