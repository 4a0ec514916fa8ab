"""What a run consists of, each part read once and only when a check asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from conformal_plugin._messages import shortened
from conformal_plugin.adapters.labels import LABEL_SETTINGS, PseudoLabelFolder, label_settings
from conformal_plugin.adapters.loop import HOST_KEY, HostConfig
from conformal_plugin.adapters.patching import HostScript, Recipe, host_scripts, marked_lines
from conformal_plugin.calibration import Calibration
from conformal_plugin.doctor._by_hand import ByHand, read_by_hand
from conformal_plugin.doctor._contents import Contents, SeenLabel, read_map
from conformal_plugin.doctor._host_reading import HostReading
from conformal_plugin.doctor._id_lines import IdLine, NotKnownError, drawn, read_lines
from conformal_plugin.doctor._yaml import plain_values
from conformal_plugin.errors import ConformalError, SourceFileError
from conformal_plugin.exchange import Imported
from conformal_plugin.files import LabelReader
from conformal_plugin.scores import LabelMap

__all__ = ["Case", "Progress", "read_config"]

Progress = Callable[[Sequence[Any], str], Iterable[Any]]
"""Goes through a sequence under a title, drawing a bar or not."""

_PATHS = ("pseudo_labels", "calibration")


def read_config(path: Path) -> Mapping[str, Any]:
    """A host's YAML; only plain values are read, never objects.

    Raises:
        SourceFileError: unreadable, not YAML, or not a mapping.
        MissingExtraError: PyYAML is not installed.
    """
    try:
        content = plain_values(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as problem:
        reason = getattr(problem, "strerror", None) or problem
        raise SourceFileError(f"cannot read the config {path} ({reason})") from problem
    except ValueError as problem:
        raise SourceFileError(
            f"the config {path} is not plain YAML ({shortened(problem)}); repair it"
        ) from problem
    if not isinstance(content, dict):
        raise SourceFileError(
            f"expected the config {path} to hold keys such as nclass: 21, but it is "
            f"{type(content).__name__}; name the YAML file that the host's script reads"
        )
    return content


@dataclass
class Case:
    """One run of a host: its scripts, its config and its id lists.

    Attributes:
        host: the folder that the scripts lie in and are started in.
        cfg: the config.
        recipes: all recipes that are known.
        script_names: scripts to look at alone.
        labelled_list: the file of the labelled ids, None where it was not given.
        unlabelled_list: that of the unlabelled ids.
        sample: how many images of a list are read.
        label_map: what the host makes of the values of its masks; None where it takes them as they
            are.
        progress: goes through images that are read.
    """

    host: Path
    cfg: Mapping[str, Any]
    recipes: Sequence[Recipe]
    script_names: Sequence[str] = ()
    labelled_list: Path | None = None
    unlabelled_list: Path | None = None
    sample: int = 200
    label_map: LabelMap | None = None
    progress: Progress = field(default=lambda items, title: items)

    def inside(self, path: str | Path) -> Path:
        """A path of the config, as a script that is started in the host's folder finds it."""
        return self.host / path

    @cached_property
    def scripts(self) -> list[HostScript]:
        """The scripts of the host that are known."""
        try:
            return host_scripts(self.host, self.script_names, self.recipes)
        except ConformalError as problem:
            raise NotKnownError(str(problem)) from problem

    @cached_property
    def by_hand(self) -> Mapping[str, ByHand | None]:
        """By script, what was put in by hand; of one with marked lines, the patch says more."""
        sources = {script.name: script.path.read_bytes() for script in self.scripts}
        return {
            name: None if marked_lines(source) else read_by_hand(source)
            for name, source in sources.items()
        }

    def leave_to_the_script(self, key: str) -> None:
        """A key that the config lacks, and that a script's own ``ConformalSupervision`` needs not.

        Raises:
            NotKnownError: it is of that kind.
        """
        try:
            kinds = {own.kind if own else "" for own in self.by_hand.values()}
        except NotKnownError:
            return
        if key not in self.cfg and kinds == {"ConformalSupervision"}:
            raise NotKnownError(f"the config has no {key}, which is left to the script's own lines")

    @cached_property
    def reading(self) -> HostReading:
        """How the scripts' own code reads lists and masks."""
        try:
            scripts = [script.path for script in self.scripts]
        except NotKnownError:  # the script of this run is none that is known
            scripts = sorted(self.host.glob("*.py"))
        return HostReading.of(self.host, scripts)

    def photos_of(self, line: IdLine) -> list[Path]:
        """The photos of a line: what it names, or what the host makes of a line of one column."""
        made = [] if line.mask else self._made(self.reading.photos, line)
        return made or [self.data_root / line.photo]

    def mask_of(self, line: IdLine) -> Path | None:
        """The mask of a line; None where nothing says where it lies."""
        if line.mask:
            return self.data_root / line.mask
        made = self._made(self.reading.masks, line)
        return made[0] if len(made) == 1 else None

    def _made(self, places: Sequence[str], line: IdLine) -> list[Path]:
        """Paths made of a line, of the data set whose folders are there."""
        made = [self.data_root / place.format(line.photo) for place in places]
        return [path for path in made if path.parent.is_dir()]

    def read_options(self) -> HostConfig | None:
        """The options under ``conformal:``, their paths taken from the host's folder.

        Raises:
            ConformalError: they are not valid.
        """
        given = self.cfg.get(HOST_KEY)
        if isinstance(given, Mapping):
            found = {
                name: str(self.inside(value))
                if name in _PATHS and isinstance(value, str)
                else value
                for name, value in given.items()
            }
            return HostConfig.read({**self.cfg, HOST_KEY: found})
        return HostConfig.read(self.cfg)

    @cached_property
    def options(self) -> HostConfig:
        """The same, where they are valid."""
        try:
            options = self.read_options()
        except ConformalError as problem:
            raise NotKnownError(f"the options under {HOST_KEY}: are not valid") from problem
        if options is None:
            raise NotKnownError(f"the config has no {HOST_KEY}: key")
        return options

    @cached_property
    def nclass(self) -> int:
        """The number of classes."""
        value = self.cfg.get("nclass")
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise NotKnownError("the config has no usable nclass")
        return value

    @cached_property
    def data_root(self) -> Path:
        """The folder that the paths of an id list start from."""
        value = self.cfg.get("data_root")
        if not isinstance(value, str) or not self.inside(value).is_dir():
            raise NotKnownError("the config names no data_root that is there")
        return self.inside(value)

    @cached_property
    def labelled(self) -> list[IdLine]:
        """The lines of the labelled list."""
        return read_lines(self.labelled_list, "--labeled-id-path")

    @cached_property
    def unlabelled(self) -> list[IdLine]:
        """The lines of the unlabelled list."""
        return read_lines(self.unlabelled_list, "--unlabeled-id-path")

    @cached_property
    def masks(self) -> Contents:
        """The masks of the labelled list, or a sample of them; missing files are left out."""
        found = [(line, self.mask_of(line)) for line in drawn(self.labelled, self.sample)]
        lines = [(line, path) for line, path in found if path is not None and path.is_file()]
        read = LabelReader(self.label_map)
        maps = [
            read_map(
                line.mask or line.photo, self.photos_of(line)[0], partial(self._mask, read, path)
            )
            for line, path in self.progress(lines, "labelled masks")
        ]
        return self._contents(maps, self.labelled, "labelled masks")

    @cached_property
    def chosen(self) -> list[str]:
        """The labelled photos that were chosen by their scores to be corrected.

        `conformal-plugin import` notes them beside the masks that it writes.
        """
        noted: dict[Path, frozenset[str]] = {}
        found: dict[str, None] = {}
        for line in self.labelled:
            mask = self.mask_of(line)
            for folder in () if mask is None else mask.parents:
                if folder not in noted:
                    noted[folder] = Imported.read(folder).chosen
                if mask and mask.relative_to(folder).with_suffix("").as_posix() in noted[folder]:
                    found[line.photo] = None
        return list(found)

    def mask_files(self, lines: Sequence[IdLine]) -> list[Path]:
        """The masks of some lines, or of a sample of them, that are there."""
        found = map(self.mask_of, drawn(lines, self.sample))
        return [path for path in found if path is not None and path.is_file()]

    def _mask(self, read: LabelReader, path: Path) -> Any:
        """A true mask as the host takes it: some divide 0 and 255 by 255."""
        labels = read(path)
        halved = self.reading.halves and self.label_map is None
        if halved and not set(np.unique(labels).tolist()) - {0, 255}:
            return labels // 255
        return labels

    @cached_property
    def pseudo_labels(self) -> Contents:
        """The pseudo-labels of the unlabelled list; photos without one are left out."""
        folder = self.options.pseudo_labels
        maps = []
        for line in self.progress(drawn(self.unlabelled, self.sample), "pseudo-labels"):
            try:
                found = PseudoLabelFolder(folder, [line.text])
            except SourceFileError:  # the check of the whole list names it
                continue
            read = partial(found.read, line.text)
            maps.append(read_map(line.photo, self.photos_of(line)[0], read))
        return self._contents(maps, self.unlabelled, "pseudo-labels")

    def _contents(self, maps: list[SeenLabel], lines: Sequence[IdLine], what: str) -> Contents:
        if not maps:
            raise NotKnownError(f"there are no {what} to read")
        return Contents(maps, len({line.photo for line in lines if line.photo}))

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration that the config names."""
        if self.options.calibration is None:
            raise NotKnownError(f"the {HOST_KEY}: block names no calibration")
        try:
            return Calibration.load(self.options.calibration)
        except ConformalError as problem:
            raise NotKnownError(f"the calibration cannot be read ({problem})") from problem

    @cached_property
    def label_settings(self) -> Mapping[str, Any]:
        """The settings that `conformal-plugin filter` made the pseudo-labels with."""
        folder = self.options.pseudo_labels
        settings = label_settings(folder)
        if settings is None:
            raise NotKnownError(
                f"{folder / LABEL_SETTINGS} is not there, cannot be read, or was not written by "
                "`conformal-plugin filter`"
            )
        return settings
