"""``conformal-plugin calibrate``: q-hat from a folder of maps and a folder of labels."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from conformal_plugin.calibration import Calibration, exact_alpha
from conformal_plugin.calibrator import Calibrator
from conformal_plugin.cli.checkpoint import Checkpoint
from conformal_plugin.cli.inputs import find_labels, find_maps, fitted_maps, listed_ids, naming
from conformal_plugin.cli.progress import progress
from conformal_plugin.cli.report import note, print_json, warn
from conformal_plugin.errors import OptionError
from conformal_plugin.files.labels import read_label
from conformal_plugin.files.lazy import LazySequence

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> None:
    """Calibrate at every alpha and write one file each."""
    alphas = list(dict.fromkeys(arguments.alpha))
    for alpha in alphas:
        exact_alpha(alpha)
    if arguments.output.is_dir():
        raise OptionError(f"--output {arguments.output} is a folder; name the file to write")
    ids = listed_ids(arguments)
    map_paths, label_paths = find_maps(arguments, ids), find_labels(arguments, ids)
    maps = fitted_maps(arguments, ids, map_paths, label_paths, "label")
    labels = LazySequence(read_label, label_paths)
    ignore_index = 255 if arguments.ignore_index is None else arguments.ignore_index
    settings = {
        "maps": str(arguments.maps.resolve()),
        "labels": str(arguments.labels.resolve()),
        "key": arguments.key,
        "resize": arguments.resize,
        "ignore_index": ignore_index,
    }
    partial = arguments.output.with_name(f"{arguments.output.name}.partial.npz")
    checkpoint = Checkpoint(partial, settings, ids, map_paths, label_paths)
    calibrator, done = checkpoint.load() or (Calibrator(ignore_index=ignore_index), 0)
    if done:
        note(f"going on from {partial}: {done} of {len(ids)} done", quiet=arguments.quiet)
    counted = _counting(arguments, ids, maps, labels, calibrator, checkpoint, done)
    # float32 and float64 maps are read again for the exact threshold; a kill then costs only that.
    again = _SecondReading(maps, quiet=arguments.quiet)
    calibrations = [counted.exact_result(again, labels, alpha) for alpha in alphas]
    outputs = [_output(arguments.output, alpha, len(alphas)) for alpha in alphas]
    for output, calibration in zip(outputs, calibrations):
        calibration.save(output)
    checkpoint.remove()
    _report(arguments, outputs, calibrations)


class _SecondReading:
    """Maps that show a progress bar whenever they are read again."""

    def __init__(self, maps: LazySequence[Any], *, quiet: bool) -> None:
        self._maps = maps
        self._quiet = quiet

    def __iter__(self) -> Iterator[Any]:
        total = len(self._maps)
        return iter(progress(self._maps, "read again", total=total, quiet=self._quiet))


def _counting(
    arguments: argparse.Namespace,
    ids: tuple[str, ...],
    maps: LazySequence[Any],
    labels: LazySequence[Any],
    calibrator: Calibrator,
    checkpoint: Checkpoint,
    done: int,
) -> Calibrator:
    pairs = zip(ids[done:], maps[done:], labels[done:])
    start = done
    try:
        for name, scores, label in progress(
            pairs, "calibrate", total=len(ids), done=start, quiet=arguments.quiet
        ):
            with naming(name):
                calibrator.update(scores, label)
            done += 1
            checkpoint.save_when_due(calibrator, done)
    finally:
        # Also where one image is refused: the ones before it need not be read again.
        if done > start:
            checkpoint.save(calibrator, done)
    return calibrator


def _output(path: Path, alpha: float, alphas: int) -> Path:
    return path if alphas == 1 else path.with_name(f"{path.stem}-{alpha:g}{path.suffix}")


def _report(
    arguments: argparse.Namespace, outputs: list[Path], calibrations: list[Calibration]
) -> None:
    for calibration in calibrations:
        if not calibration.informative:
            warn(
                f"at alpha {calibration.alpha:g} q-hat is {calibration.qhat}: every class is in "
                f"every prediction set, and `conformal-plugin filter` will refuse it; calibrate "
                f"with a larger alpha or more labelled images"
            )
    if arguments.json:
        entries = [
            {"file": str(output), **json.loads(calibration.to_json())}
            for output, calibration in zip(outputs, calibrations)
        ]
        print_json({"calibrations": entries})
        return
    first = calibrations[0]
    print(
        f"{first.n_images} images, {first.n_pixels} pixels, {first.num_classes} classes "
        f"({int((first.pixels_per_class == 0).sum())} of them without a pixel)"
    )
    for output, calibration in zip(outputs, calibrations):
        print(f"alpha {calibration.alpha:g}: q-hat {calibration.qhat:.8g} -> {output}")
        print(f"  {calibration.guarantee.statement}")
