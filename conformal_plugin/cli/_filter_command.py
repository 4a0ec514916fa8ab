"""``conformal-plugin filter``: pseudo-label PNGs from a folder of maps."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from conformal_plugin._atomic import atomic_write_text, sweep
from conformal_plugin._choices import RULES
from conformal_plugin.calibration import Calibration
from conformal_plugin.choosing import ENOUGH, LabelSigns
from conformal_plugin.cli._damaged_images import UNUSABLE, DamagedImages
from conformal_plugin.cli._done_record import RECORD, DoneLabel
from conformal_plugin.cli._inputs import (
    classes_of,
    find_maps,
    find_photos,
    fitted_maps,
    is_volume,
    listed_ids,
    naming,
    taken_maps,
    threshold,
)
from conformal_plugin.cli._label_folder import MANIFEST, LabelFolder
from conformal_plugin.cli._label_style import LabelStyle
from conformal_plugin.cli._label_summary import LabelSummary
from conformal_plugin.cli._labeller import Labeller
from conformal_plugin.cli._outputs import named_files, refuse_inputs
from conformal_plugin.cli._pair_lines import pair_lines
from conformal_plugin.cli._progress import progress
from conformal_plugin.cli._report import number, print_json, warn
from conformal_plugin.cli._sharding import sharing
from conformal_plugin.errors import ConformalError, OptionError, ShapeError
from conformal_plugin.files import (
    LABEL_SUFFIXES,
    FileState,
    LazySequence,
    ScoreMap,
    Taken,
    checksum,
    volume_suffix,
)
from conformal_plugin.labelling import cap_settings, promised_rule, refuse_uninformative

__all__ = ["run"]

_NEARLY_NONE = 0.01


def run(arguments: argparse.Namespace) -> None:
    """Write the labels that are not there yet, the list and the manifest; print a summary."""
    with sharing() as ranks:
        arguments.quiet = arguments.quiet or ranks.number > 0
        job = ranks.together(lambda: _Filtering(arguments))
        ranks.first(job.begin)
        share = ranks.share(range(len(job.ids)))
        mine = ranks.together(lambda: job.labelled(share))
        parts = ranks.gather(mine)
        ranks.first(lambda: job.finish(parts))


@dataclass
class _Part:
    """What became of some of the images."""

    labeller: Labeller
    summary: LabelSummary
    signs: LabelSigns
    looked_at: set[int] = field(default_factory=set)
    """The numbers of the images that ``signs`` has counted."""
    written: int = 0
    num_classes: int | None = None
    damaged: DamagedImages = field(default_factory=lambda: DamagedImages("map"))

    def merge(self, other: _Part) -> None:
        self.labeller.merge(other.labeller)
        self.summary.merge(other.summary)
        self.signs.merge(other.signs)
        self.looked_at |= other.looked_at
        self.written += other.written
        self.damaged.merge(other.damaged)
        if other.num_classes is not None:
            self.num_classes = _same_classes(other.num_classes, self.num_classes)


@dataclass(frozen=True)
class _Read:
    """A map as it was read, in the thread that read it.

    Attributes:
        scores: ``(K, H, W)``.
        states: those of the files that it comes from.
        checksum: of the scores.
    """

    scores: ScoreMap
    states: tuple[FileState, ...]
    checksum: int

    @classmethod
    def of(cls, taken: Taken[ScoreMap]) -> _Read:
        """With the checksum of what was taken."""
        return cls(taken.value, taken.states, checksum(taken.value))


class _Filtering:
    """All that filtering needs, checked before any work."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._qhat, self._ignore_index = _threshold(arguments)
        for option in ("resize", "root", "follow_exif"):
            if getattr(arguments, option) and arguments.photos is None:
                raise OptionError(
                    f"--{option.replace('_', '-')} is about photos; say where they are with "
                    f"--photos DIR"
                )
        listed = listed_ids(arguments)
        self.ids = listed.ids
        self._paths = find_maps(arguments, listed)
        style = LabelStyle.of(arguments, self._qhat, self._ignore_index)
        self._settings = _settings(arguments, self._qhat, style.dropped)
        self._photos = None if arguments.photos is None else find_photos(arguments, listed)
        self._maps = self._maps_to_read().then(_Read.of)
        self._folder = LabelFolder(
            arguments.out,
            self._settings,
            style,
            labelled=_labelled(self._qhat),
            suffix=self._label_suffix(),
        )
        self._lines: Sequence[str] = self.ids
        if self._photos is not None:
            labels = [self._folder.path(name) for name in self.ids]
            self._lines = pair_lines(arguments, self._photos, labels)
        self._id_list = arguments.id_list or arguments.out / "pseudo_labels.txt"
        refuse_inputs(
            {
                "--id-list": [self._id_list],
                "the manifest": [arguments.out / MANIFEST],
                "the record of labels": [arguments.out / RECORD],
                "the list of damaged maps": [arguments.out / UNUSABLE],
                "the label": map(self._folder.path, self.ids),
            },
            {
                **named_files(arguments),
                "a map": self._paths,
                "a photo": self._photos or (),
            },
        )

    def begin(self) -> None:
        """Write the manifest, unless the folder holds what must not be lost."""
        self._folder.clear_away(self.ids)
        sweep([self._id_list.parent], {self._id_list.name}.__contains__)
        self._folder.begin(self.ids, overwrite=self._arguments.overwrite)

    def labelled(self, indices: Sequence[int]) -> _Part:
        """Write the labels of these images that are not there yet."""
        labeller = Labeller(
            self._qhat,
            rule=self._settings["rule"],
            background=self._settings["background"],
            ignore_index=self._ignore_index,
            thinned=self._arguments.thin,
        )
        signs = LabelSigns(self._settings["background"], self._ignore_index)
        part = _Part(labeller, LabelSummary(self._ignore_index), signs)
        todo = self._not_done(indices, part)
        work = progress(
            zip(todo, LazySequence(self._read_or_error, todo)),
            "filter",
            total=len(indices),
            done=len(indices) - len(todo),
            quiet=self._arguments.quiet,
        )
        there = len(indices) - len(todo)
        for index, read in work:
            name = self.ids[index]
            try:
                if isinstance(read, ConformalError):
                    raise read
                labels = labeller.labels(name, read.scores)
            except ConformalError as error:
                part.damaged.add(name, error)
                if part.damaged.hopeless(there + part.written):
                    break
                continue
            num_classes = classes_of(read.scores)
            with naming(name):
                part.num_classes = _same_classes(num_classes, part.num_classes)
                done = self._folder.write(
                    name,
                    labels,
                    self._sources(index),
                    read.states,
                    num_classes=num_classes,
                    checksum=read.checksum,
                )
            part.summary.add(done.counts)
            if index < ENOUGH:
                part.signs.add(read.scores, labels)
                part.looked_at.add(index)
            part.written += 1
        return part

    def finish(self, parts: Sequence[_Part]) -> None:
        """Write the list and print the summary of all images."""
        arguments, (total, *others) = self._arguments, parts
        for part in others:
            total.merge(part)
        total.damaged.refuse(len(self.ids), arguments.out)
        total.labeller.report(len(self.ids))
        self._remark(total)
        atomic_write_text(self._id_list, "".join(f"{line}\n" for line in self._lines))
        content = {
            "labels": str(arguments.out),
            "id_list": str(self._id_list),
            "manifest": str(arguments.out / MANIFEST),
            "written": total.written,
            "already_there": len(self.ids) - total.written,
            **total.summary.content(),
        }
        _report(content, as_json=arguments.json)

    def _remark(self, total: _Part) -> None:
        """Warn of what the first labels give away beside the labelled images, whoever made them."""
        known = self._folder.remarked and not total.looked_at
        if self._qhat is None or known:  # raw labels are meant
            return
        signs = total.signs
        others = [i for i in range(len(self.ids))[:ENOUGH] if i not in total.looked_at]
        title, quiet = "first labels", self._arguments.quiet
        for index in progress(others, title, total=len(others), quiet=quiet):
            with naming(self.ids[index]):
                signs.add(self._maps[index].scores, self._folder.read(self.ids[index]))
        true = self._qhat.pixels_per_class if isinstance(self._qhat, Calibration) else None
        rule = self._settings["rule"]
        background = self._settings["background"] if rule == RULES[0] else None
        remarks = signs.remarks(true, background)
        for remark in remarks:
            warn(remark)
        self._folder.remark(remarks)

    def _maps_to_read(self) -> LazySequence[Taken[ScoreMap]]:
        """The maps, fitted to photos where there are some."""
        if self._photos is None:
            return taken_maps(self._arguments, self._paths)
        return fitted_maps(self._arguments, self.ids, self._paths, self._photos, "photo")

    def _read_or_error(self, index: int) -> _Read | ConformalError:
        """A map, or why it cannot be used: others may still be."""
        try:
            return self._maps[index]
        except ConformalError as error:
            return error

    def _label_suffix(self) -> str:
        """How the names of the labels end: what images have, or volumes, by the first map."""
        first = self._read_or_error(0)
        if isinstance(first, ConformalError) or not is_volume(first.scores):
            return LABEL_SUFFIXES[0]
        return volume_suffix(self._sources(0))

    def _sources(self, index: int) -> list[Path]:
        """The files that a label is made from."""
        photos = [] if self._photos is None else [self._photos[index]]
        return [self._paths[index], *photos]

    def _not_done(self, indices: Sequence[int], part: _Part) -> list[int]:
        """The images whose label is to be made; the labels that are there are summed up."""
        todo = []
        for index in indices:
            present = self._present(index)
            if present is None:
                todo.append(index)
                continue
            if present.num_classes is not None:
                with naming(self.ids[index]):
                    part.num_classes = _same_classes(present.num_classes, part.num_classes)
            part.summary.add(present.counts)
        return todo

    def _present(self, index: int) -> DoneLabel | None:
        """The label that is there, unless it is to be made again."""
        if self._arguments.overwrite:
            return None
        verify = self._arguments.verify
        present = self._folder.existing(self.ids[index], self._sources(index), reading=verify)
        if present is not None and verify:
            with naming(self.ids[index]):
                return present if self._maps[index].checksum == present.checksum else None
        return present


def _threshold(arguments: argparse.Namespace) -> tuple[Any, int]:
    """What to filter with, None for the raw labels, and the label of dropped pixels.

    Raises:
        OptionError: a rule for raw labels, which need none.
        UninformativeThresholdError: every class would be in every set.
    """
    if not arguments.raw:
        qhat, ignore_index = threshold(arguments)
        refuse_uninformative(qhat)
        if arguments.thin and getattr(qhat, "label_weights", None) is None:
            raise OptionError(
                "--thin takes thresholds of all levels, which only `conformal-plugin calibrate` "
                "without --alpha, --rule and --preset leaves in its file; calibrate so, or leave "
                "--thin out"
            )
        return qhat, ignore_index
    given_options = {
        "rule": arguments.rule,
        "background": arguments.background,
        "thin": arguments.thin or None,
    }
    for option, value in given_options.items():
        if value is not None:
            raise OptionError(
                f"--raw takes each pixel's most probable class, and --{option} is about prediction "
                f"sets; leave one of them out"
            )
    given = arguments.ignore_index
    return None, 255 if given is None else given


def _labelled(qhat: Any) -> list[int] | None:
    """Of each class, the labelled pixels that were calibrated on."""
    if not isinstance(qhat, Calibration):
        return None
    pixels: list[int] = qhat.pixels_per_class.tolist()
    return pixels


def _settings(arguments: argparse.Namespace, qhat: Any, dropped: int) -> dict[str, Any]:
    calibration = qhat if isinstance(qhat, Calibration) else None
    rule: str | None = None
    background: int | None = None
    if qhat is not None:
        rule, background = promised_rule(qhat, arguments.rule, arguments.background)
    return {
        "qhat": _as_json(np.asarray(calibration.qhat if calibration else qhat).tolist()),
        "alpha": calibration.alpha if calibration else None,
        "rule": rule,
        "background": background,
        "ignore_index": dropped,
        "key": arguments.key,
        "resize": arguments.resize,
        **cap_settings(qhat),
        **({"thinned": True} if arguments.thin else {}),
    }


def _as_json(qhat: Any) -> Any:
    """Thresholds, of which JSON has no infinite ones: these as text; None of raw labels."""
    if isinstance(qhat, list):
        return [_as_json(threshold) for threshold in qhat]
    return qhat if qhat is None or math.isfinite(qhat) else str(qhat)


def _same_classes(count: int, num_classes: int | None) -> int:
    if num_classes not in (None, count):
        raise ShapeError(
            f"the map has {count} classes and the ones before it {num_classes}; check that all "
            f"come from one annotator, those whose labels are there already, too"
        )
    return count


def _report(content: Mapping[str, Any], *, as_json: bool) -> None:
    if content["kept"] < _NEARLY_NONE:
        warn(
            f"nearly nothing was kept ({100 * content['kept']:.2f} % of pixels), so there is "
            f"little to learn from; look at the precision on labelled images with "
            f"`conformal-plugin evaluate`, and at other alphas"
        )
    if as_json:
        print_json(content)
        return
    print(
        f"{content['written']} labels written to {content['labels']}, {content['already_there']} "
        f"were there; list in {content['id_list']}"
    )
    kept = number(content["kept"])
    print(f"kept {kept} of pixels; {content['images_without_label']} images without any")
    print(f"\n{'class':>5} {'share of pixels':>15}")
    for c, share in content["share_per_class"].items():
        print(f"{c:>5} {number(share):>15}")
