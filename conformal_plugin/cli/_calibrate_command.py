"""``conformal-plugin calibrate``: thresholds from a folder of maps and a folder of labels."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from conformal_plugin._atomic import sweep
from conformal_plugin._choices import RULES
from conformal_plugin.calibration import Calibration, cluster_classes
from conformal_plugin.choosing import ENOUGH, signs_of
from conformal_plugin.cli._checkpoint import Checkpoint
from conformal_plugin.cli._comparing import (
    check_comparison,
    compared,
    surer,
    unlabelled_maps,
)
from conformal_plugin.cli._decision import Decision, decided
from conformal_plugin.cli._groups import groups_of, share_of
from conformal_plugin.cli._guarantee import Task, chosen
from conformal_plugin.cli._inputs import (
    find_labels,
    find_maps,
    fitted_maps,
    ids_of_list,
    listed_ids,
    naming,
    own_map_paths,
    taken_labels,
    value_of,
)
from conformal_plugin.cli._label_maps import label_map_of, label_reader
from conformal_plugin.cli._outputs import named_files, refuse_folders, refuse_inputs
from conformal_plugin.cli._picked import warn_of_picked
from conformal_plugin.cli._progress import progress
from conformal_plugin.cli._read_digest import ReadDigest
from conformal_plugin.cli._report import note, number, print_json, warn, warn_of
from conformal_plugin.cli._sharding import Ranks, sharing
from conformal_plugin.cli._whose_maps import annotator_of, without_fitted
from conformal_plugin.errors import ConformalError, OptionError, SourceFileError
from conformal_plugin.evaluation import NOT_EXCHANGEABLE, LabelDoubts
from conformal_plugin.files import FileState, IdList, LazySequence, ScoreMap, Taken, checksum
from conformal_plugin.scores import labelled_images

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> None:
    """Calibrate at every level asked for and write one file each."""
    refuse_folders(arguments, "output")
    with sharing() as ranks:
        arguments.quiet = arguments.quiet or ranks.number > 0
        ids = ranks.together(lambda: without_fitted(arguments, listed_ids(arguments)))
        ranks.first(lambda: warn_of_picked(arguments.labels, ids))
        decision = decided(arguments, ids, ranks)
        calibration = ranks.together(lambda: _Calibrating(arguments, ids, ranks, decision))
        ranks.together(calibration.clear_away)
        if decision is not None:
            found, read, doubts = [decision.calibration], [decision.read], decision.doubts
        else:
            counted = ranks.together(calibration.counted).all_reduce()
            # float32 and float64 maps are read again for the exact threshold; a kill then costs
            # only that.
            found = ranks.together(lambda: calibration.results(counted))
            read = ranks.gather(calibration.checkpoint.read)
            doubts = LabelDoubts.of_ranks(ranks.gather(calibration.doubts))
        ranks.first(lambda: warn_of(doubts.found()))
        shift = ranks.together(lambda: compared(arguments, calibration.ids, ranks))
        if shift is not None:
            found = [replace(one, comparison=shift.comparison) for one in found]
        ranks.first(lambda: calibration.finish(found, read))
        calibration.checkpoint.remove()


class _Calibrating:
    """All that a calibration needs, checked; it counts this rank's share of the images."""

    def __init__(
        self,
        arguments: argparse.Namespace,
        ids: IdList,
        ranks: Ranks,
        decision: Decision | None,
    ) -> None:
        self._arguments = arguments
        self._decision = decision
        self.ids = ids
        check_comparison(arguments, ids)
        groups = groups_of(arguments, ids)
        self._groups = groups
        self._mine = _Images(arguments, ids.take(share_of(ids.ids, groups, ranks)))
        self._label_map = label_map_of(arguments)
        self.doubts = LabelDoubts(255 if arguments.ignore_index is None else arguments.ignore_index)
        """What speaks against the labels that this run has counted."""
        self._task = chosen(
            arguments,
            _clustering(arguments, ids, groups),
            partial(surer, arguments, ids, ranks),
        )
        units = (len(ids), "image") if groups is None else (len(set(groups.values())), "group")
        if self._task.record is not None:
            self._task.record.check(ids.ids)
        for prospect in self._task.prospects(*units):
            note(prospect, quiet=arguments.quiet)
        settings = {
            "maps": str(arguments.maps.resolve()),
            "labels": str(arguments.labels.resolve()),
            "key": arguments.key,
            "resize": arguments.resize,
            **({} if groups is None else {"groups": sorted(groups.items())}),
            **self._task.settings,
        }
        if self._label_map is not None:
            settings["label_map"] = self._label_map.text
        one = f".rank-{ranks.number}-of-{ranks.world}" if ranks.world > 1 else ""
        unfinished = arguments.output.with_name(f"{arguments.output.name}{one}.partial.npz")
        mine = self._mine
        self.checkpoint = Checkpoint(
            unfinished, settings, mine.ids, mine.map_paths, mine.label_paths
        )
        self._outputs = _outputs(arguments.output, self._task.levels)
        refuse_inputs(
            {
                "--output": self._outputs,
                "--looks": [arguments.looks],
                "the unfinished calibration": [unfinished],
            },
            {
                **named_files(arguments),
                "a map": [*mine.map_paths, *unlabelled_maps(arguments, ids)],
                "a label": mine.label_paths,
                "a map of --own-maps": own_map_paths(arguments, ids),
            },
        )

    def clear_away(self) -> None:
        """Delete what killed runs left half written."""
        written = [*self._outputs, self.checkpoint.path]
        if self._arguments.looks is not None:
            written.append(self._arguments.looks)
        sweep({path.parent for path in written}, {path.name for path in written}.__contains__)

    def counted(self) -> Any:
        """The calibrator, with the counts of this rank's images."""
        fresh = self._task.calibrator
        loaded = self.checkpoint.load(type(fresh))
        if loaded is None and self.checkpoint.path.exists():
            note(
                f"{self.checkpoint.path} is of a run that was refused, with other options or "
                f"files; beginning anew",
                quiet=self._arguments.quiet,
            )
        calibrator, done = loaded or (fresh, 0)
        if done:
            note(
                f"going on from {self.checkpoint.path}: {done} of {len(self._mine.ids)} done",
                quiet=self._arguments.quiet,
            )
        _count(self._mine, calibrator, self.checkpoint, self.doubts, done, self._groups)
        return calibrator

    def results(self, counted: Any) -> list[Calibration]:
        """The calibrations of all images, given all counts."""
        mine, states = self._mine, self.checkpoint.states
        maps = _Unchanged(mine.maps, [state for state, _ in states], "map")
        labels = _Unchanged(mine.labels, [state for _, state in states], "label")
        again = _WithProgress(maps, "read again", quiet=mine.quiet)
        return self._task.results(counted, again, labels, mine.ids, self._groups)

    def finish(self, calibrations: list[Calibration], parts: Sequence[ReadDigest]) -> None:
        """Write and report the calibrations, with what all ranks have read."""
        read = ReadDigest()
        for part in parts:
            read.merge(part)
        task, outputs = self._task, self._outputs
        calibrations = [one.with_label_map(self._label_map) for one in calibrations]
        annotator = annotator_of(self._arguments.maps)
        for path, calibration in zip(outputs, calibrations):
            if read.differs_from(path):
                warn(
                    f"{path} was made of the same ids with other scores or labels: files have "
                    f"changed since, or are damaged; it is replaced"
                )
            read.save(calibration, path, annotator)
        if task.record is not None:
            task.record.add(self.ids.ids)
        if self._decision is None:  # which has looked at the labels
            self._remark(calibrations)
        _report(self._arguments, task, outputs, calibrations, self._decision)

    def _remark(self, calibrations: Sequence[Calibration]) -> None:
        """Warn of what the thresholds do to the labels of this rank's first images."""
        maps = self._mine.maps[:ENOUGH].then(value_of)
        labels = self._mine.labels[:ENOUGH].then(value_of)
        for calibration in calibrations:
            if calibration.rule is None or not _sets_differ(calibration):
                continue
            found = signs_of(labelled_images(maps, labels), calibration)
            background = calibration.background if calibration.rule == RULES[0] else None
            for remark in found.remarks(calibration.pixels_per_class, background):
                warn(f"at {self._task.level_name} {calibration.alpha:g}: {remark}")


class _Images:
    """The maps and labels of some ids, found before any work."""

    def __init__(self, arguments: argparse.Namespace, ids: IdList) -> None:
        self.ids = ids.ids
        self.map_paths = find_maps(arguments, ids)
        self.label_paths = find_labels(arguments, ids)
        self.maps = fitted_maps(arguments, ids, self.map_paths, self.label_paths, "label")
        self.labels = taken_labels(label_reader(arguments), self.label_paths)
        self.quiet: bool = arguments.quiet

    def again(self, title: str) -> _WithProgress:
        """The maps, with a progress bar whenever they are read."""
        maps: LazySequence[ScoreMap] = self.maps.then(value_of)
        return _WithProgress(maps, title, quiet=self.quiet)


class _WithProgress:
    """Items that show how far their reading is, whenever they are read."""

    def __init__(self, items: Sequence[Any], title: str, *, quiet: bool) -> None:
        self._items = items
        self._title = title
        self._quiet = quiet

    def __iter__(self) -> Iterator[Any]:
        total = len(self._items)
        return iter(progress(self._items, self._title, total=total, quiet=self._quiet))


class _Unchanged(Sequence[Any]):
    """What is read again of files that must be in the state they were in when they were counted."""

    def __init__(self, taken: LazySequence[Taken[Any]], states: Sequence[FileState], what: str):
        self._taken = taken
        self._states = states
        self._what = what

    def __len__(self) -> int:
        return len(self._taken)

    def __getitem__(self, index: Any) -> Any:
        return self._checked(self._taken[index], self._states[index])

    def __iter__(self) -> Iterator[Any]:
        return map(self._checked, self._taken, self._states)

    def _checked(self, taken: Taken[Any], state: FileState) -> Any:
        if taken.states[0] != state:
            raise SourceFileError(
                f"a {self._what} has changed since it was counted in this run; calibrate again "
                f"when nothing writes to the {self._what}s any more"
            )
        return taken.value


def _clustering(
    arguments: argparse.Namespace, ids: IdList, groups: Mapping[str, str] | None
) -> Any:
    """What finds the clusters of classes; None where no images were named for it."""
    if arguments.cluster_ids is None or arguments.clusters is None:
        return None
    names = ids_of_list(arguments, arguments.cluster_ids)
    both = sorted(set(names) & set(ids))
    if both:
        raise OptionError(
            f"{len(both)} ids, {both[0]} among them, are in --cluster-ids and in --ids: cluster on "
            f"some labelled images and calibrate on others, or the promise is lost"
        )
    if groups is not None:
        shared = sorted(set(groups.values()) & set((groups_of(arguments, names) or {}).values()))
        if shared:
            raise OptionError(
                f"{len(shared)} groups, {shared[0]} among them, have images in --cluster-ids and "
                f"in --ids: cluster on some groups and calibrate on others, or the promise is lost"
            )
    images = _Images(arguments, names)
    ignore_index = 255 if arguments.ignore_index is None else arguments.ignore_index

    def cluster(alpha: float) -> tuple[int, ...]:
        found = cluster_classes(
            images.again("cluster"),
            images.labels.then(value_of),
            arguments.clusters,
            alpha=alpha,
            ignore_index=ignore_index,
        )
        return found.of_class

    return cluster


def _count(
    images: _Images,
    calibrator: Any,
    checkpoint: Checkpoint,
    doubts: LabelDoubts,
    done: int,
    groups: Mapping[str, str] | None,
) -> None:
    """Count the images from number ``done`` on."""
    start = done
    maps, labels = (taken[done:].then(_with_checksum) for taken in (images.maps, images.labels))
    pairs = zip(images.ids[done:], maps, labels)
    try:
        for name, (scores, of_scores), (label, of_label) in progress(
            pairs, "calibrate", total=len(images.ids), done=start, quiet=images.quiet
        ):
            with naming(name):
                calibrator.update(scores.value, label.value, [name], groups)
                doubts.look(name, scores.value, label.value)
            checkpoint.add(label, scores, of_scores, of_label)
            done += 1
            checkpoint.save_when_due(calibrator)
    except ConformalError:
        checkpoint.refused = True
        raise
    finally:
        # Also where one image is refused: the ones before it need not be read again.
        if done > start:
            checkpoint.save(calibrator)


def _sets_differ(calibration: Calibration) -> bool:
    """Whether the thresholds leave something out; a promise on precision says what it keeps."""
    return calibration.informative and not calibration.promises_precision


def _with_checksum(taken: Taken[Any]) -> tuple[Taken[Any], int]:
    return taken, checksum(taken.value)


def _outputs(path: Path, levels: Sequence[float]) -> list[Path]:
    """A file for each level; of several, with all digits of each, or two would share a file."""
    if len(levels) == 1:
        return [path]
    return [path.with_name(f"{path.stem}-{level!r}{path.suffix}") for level in levels]


def _report(
    arguments: argparse.Namespace,
    task: Task,
    outputs: list[Path],
    calibrations: list[Calibration],
    decision: Decision | None,
) -> None:
    for calibration in calibrations:
        _warn_of_extremes(task, calibration)
    comparison = calibrations[0].comparison
    if comparison is not None and comparison.p_value <= NOT_EXCHANGEABLE:
        warn(comparison.statement)
    elif comparison is not None:
        note(comparison.statement, quiet=arguments.quiet)
    if arguments.json:
        entries = [
            {"file": str(output), **json.loads(calibration.to_json())}
            for output, calibration in zip(outputs, calibrations)
        ]
        chosen = {} if decision is None else {"choice": decision.content}
        print_json({"calibrations": entries, **chosen})
        return
    if decision is not None:
        print(f"{decision.verdict}\n")
    first = calibrations[0]
    effective = (
        "" if first.n_effective is None else f" (worth about {first.n_effective:.0f} independent)"
    )
    groups = "" if first.n_groups is None else f" in {first.n_groups} groups"
    print(
        f"{first.n_images} images{groups}, {first.n_pixels} pixels{effective}, "
        f"{first.num_classes} classes ({int((first.pixels_per_class == 0).sum())} of them without "
        f"a pixel)"
    )
    for output, calibration in zip(outputs, calibrations):
        guarantee = calibration.guarantee
        kind = "exact" if guarantee.exact else "heuristic"
        how = "" if calibration.rule is None else f", rule {calibration.rule}"
        print(
            f"{task.level_name} {calibration.alpha:g}: {_thresholds(calibration)}{how} -> {output}"
        )
        print(f"  {guarantee.name} per {guarantee.unit}, {kind}. {guarantee.statement}")
        if not calibration.promises_precision and np.ndim(calibration.qhat):
            _print_classes(calibration)


def _thresholds(calibration: Calibration) -> str:
    if not np.ndim(calibration.qhat):
        return f"q-hat {calibration.qhat:.8g}"
    thresholds = np.asarray(calibration.qhat)
    if calibration.promises_precision and calibration.background is not None:
        foreground = np.delete(thresholds, calibration.background)[0]
        own = thresholds[calibration.background]
        return f"q-hat {own:.8g} for background, {foreground:.8g} for foreground"
    return f"q-hat {thresholds.min():.8g} ... {thresholds.max():.8g} over the classes"


def _print_classes(calibration: Calibration) -> None:
    print(f"\n{'class':>7} {'q-hat':>10} {'images':>8} {'pixels':>11}")
    columns = zip(
        np.asarray(calibration.qhat), calibration.images_per_class, calibration.pixels_per_class
    )
    for c, (qhat, images, pixels) in enumerate(columns):
        fate = "  pooled" if c in calibration.pooled_classes else ""
        fate = "  left out" if c in calibration.left_out_classes else fate
        print(f"{c:>7} {number(qhat):>10} {images:>8} {pixels:>11}{fate}")


def _warn_of_extremes(task: Task, calibration: Calibration) -> None:
    thresholds = np.asarray(calibration.qhat)
    level = f"at {task.level_name} {calibration.alpha:g}"
    if not calibration.informative:
        high = np.flatnonzero(thresholds >= 1).tolist()
        which = f"of classes {high} is 1 or more: they are" if thresholds.ndim else None
        warn(
            f"{level} q-hat {which or f'is {thresholds:g}: every class is'} in every prediction "
            f"set, and `conformal-plugin filter` will refuse it; calibrate with a larger alpha or "
            f"more labelled images"
        )
    if np.all(np.isneginf(thresholds)):
        warn(f"{level} nothing can be kept: {calibration.guarantee.statement}")
