"""The folder of one host study: what it is of, its data, its labels, its runs and their figures."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import shutil
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from host_bed import FORMS, SPLITS, lay_out, without_mask
from host_rows import LABELS, NEVER_SURE, ROWS, THRESHOLD, TRUTH
from host_run import HostRun
from host_table import Line, write_csv
from voc_like import read_ids

from conformal_plugin._atomic import atomic_write_text
from conformal_plugin.cli import main as conformal_plugin
from conformal_plugin.errors import ConformalError, OptionError

__all__ = ["FORMS", "HostStudy"]

IDENTITY = "study.json"


class HostStudy:
    """Where everything lies, and which runs there are.

    Args:
        options: of ``host_study.py``.
        recipe: what the host's YAML says.
        side: pixels of a photo's longer side; None to leave photos as they are.
    """

    def __init__(
        self, options: argparse.Namespace, recipe: dict[str, Any], side: int | None
    ) -> None:
        self.options, self.recipe, self._side = options, recipe, side
        self._bed = options.data.resolve().name
        many = "all" if options.labelled is None else options.labelled
        self.data = options.out / "data" / f"{self._bed}-{many}-{side or 'as-it-is'}"
        self.place = options.out / f"{self.data.name}-{options.scores}-{Path(options.script).stem}"

    def check(self) -> None:
        """Make sure that runs which lie here are of the same host, recipe and photos.

        Raises:
            OptionError: they are not.
        """
        path = self.place / IDENTITY
        if not path.is_file():
            return
        theirs, ours = json.loads(path.read_text(encoding="utf-8")), self._identity()
        different = [
            f"{name} was {theirs.get(name)!r} and is {ours[name]!r}"
            for name in ours
            if theirs.get(name) != ours[name]
        ]
        if different:
            raise OptionError(
                f"{self.place} holds runs of another study ({'; '.join(different)}); give another "
                f"--out"
            )

    def prepare(self) -> None:
        """Photos, maps, labels, and the host twice: as it is, and patched."""
        options = self.options
        lay_out(options.data, self.data, self._side, options.labelled, [options.scores])
        atomic_write_text(self.place / IDENTITY, json.dumps(self._identity(), indent=1) + "\n")
        for name in ("plain", "patched"):
            host = self.place / "hosts" / name
            if (host / ".ready").is_file():
                continue
            shutil.rmtree(host, ignore_errors=True)
            shutil.copytree(options.host, host, ignore=shutil.ignore_patterns(".git"))
            test_photos = (self.data / "val.txt").read_text(encoding="utf-8")
            lists = "partitions" if (host / "partitions").is_dir() else "splits"  # CorrMatch's
            atomic_write_text(host / lists / self.recipe["dataset"] / "val.txt", test_photos)
            if name == "patched":
                _command("patch", host, "--script", options.script, "--apply")
            (host / ".ready").touch()
        for way in {ROWS[row].labels for row in options.rows} & set(LABELS):
            self._label(way)

    def usable(self) -> list[str]:
        """Rows that were asked for and can be run."""
        refused = self.refused()
        return [row for row in self.options.rows if row not in refused]

    def refused(self) -> dict[str, str]:
        """Rows that were asked for and cannot be run here, and why."""
        paths = (self.place / "labels").glob("*/refused.txt")
        words = {path.parent.name: path.read_text(encoding="utf-8").strip() for path in paths}
        if TRUTH in {ROWS[row].labels for row in self.options.rows}:
            missing = without_mask(self.options.data)
            if missing is not None:
                words[TRUTH] = f"not every unlabelled photo has a mask, {missing} has none"
        labels = {row: ROWS[row].labels or "" for row in self.options.rows}
        found = {row: words[way] for row, way in labels.items() if way in words}
        for row in self.options.rows:
            script = ROWS[row].script
            if script is not None and not (self.options.host / script).is_file():
                found[row] = f"{self.options.host} has no {script}, which learns from labels only"
        if THRESHOLD not in self.recipe:
            needing = [row for row in self.options.rows if not ROWS[row].self_training]
            found |= dict.fromkeys(needing, f"the recipe has no {THRESHOLD} that ends it")
        return found

    def run(self, row: str, seed: int) -> HostRun:
        """The run of a row and a seed."""
        asked = ROWS[row]
        labelled = "labeled_repeated.txt" if asked.repeated else "labeled.txt"
        config = {**self.recipe, "data_root": str(self.data.resolve())}
        if not asked.self_training:
            config[THRESHOLD] = NEVER_SURE
        if asked.labels is not None:
            labels = self.place / "labels" / asked.labels
            truth = asked.labels == TRUTH
            png = self.data / "SegmentationClass" if truth else labels / "png"
            calibration = labels / "calibration.json"
            config["conformal"] = {
                "pseudo_labels": str(png.resolve()),
                "stage1_epochs": round(asked.stage1 * self.recipe["epochs"]),
                "mode": asked.mode,
                "calibration": str(calibration.resolve()) if calibration.is_file() else None,
            }
        return HostRun(
            folder=(self.place / "runs" / f"{row}-{seed}").resolve(),
            host=self.place.resolve() / "hosts" / ("plain" if asked.labels is None else "patched"),
            script=asked.script or self.options.script,
            config=config,
            lists=(self.data.resolve() / labelled, self.data.resolve() / "unlabeled.txt"),
            seed=seed,
        )

    def read(self) -> list[Line]:
        """A line for each epoch of each finished run, whatever rows and seeds are asked for."""
        options, found = self.options, []
        classes = " ".join(map(str, options.classes)) if options.classes else "all"
        for row in ROWS:
            paths = (self.place / "runs").glob(f"{row}-*/result.json")
            named = (path.parent.name.removeprefix(f"{row}-") for path in paths)
            for seed in sorted(int(seed) for seed in named if seed.isdigit()):
                result = self.run(row, seed).result()
                for number, epoch in {} if result is None else result["epochs"].items():
                    found.append(
                        Line(
                            bed=self._bed,
                            labelled=options.labelled or "all",
                            scores=options.scores,
                            script=options.script,
                            classes=classes,
                            row=row,
                            seed=seed,
                            epoch=int(number),
                            miou=self.miou(epoch),
                            mask_ratio=epoch.get("mask_ratio"),
                            processor_seconds=result["processor_seconds"],
                        )
                    )
        return found

    def miou(self, epoch: Mapping[str, Any]) -> float:
        """Of an epoch, over the classes that were asked for, in percent.

        Raises:
            OptionError: the host evaluates no such class.
        """
        classes = [str(one) for one in self.options.classes or epoch["iou"]]
        unknown = [one for one in classes if one not in epoch["iou"]]
        if unknown:
            raise OptionError(
                f"--classes {' '.join(unknown)}: the host's log has the IoU of classes "
                f"{', '.join(epoch['iou'])}"
            )
        return statistics.fmean(epoch["iou"][one] for one in classes)

    def write_csv(self) -> None:
        """All that is known, as ``results.csv``."""
        if lines := self.read():
            write_csv(lines, self.place / "results.csv")

    def _identity(self) -> dict[str, Any]:
        options = self.options
        digest = hashlib.sha256()
        for path in sorted(options.host.rglob("*.py")):
            digest.update(f"{path.relative_to(options.host)}\0".encode() + path.read_bytes())
        ids = {split: "\n".join(read_ids(options.data, split)).encode() for split in SPLITS}
        lists = {split: hashlib.sha256(text).hexdigest()[:12] for split, text in ids.items()}
        return {
            "host's code": digest.hexdigest()[:12],
            "recipe": self.recipe,
            "background": options.background,
            "photos listed": lists,
        }

    def _label(self, way: str) -> None:
        """Calibrate and filter as a user does; what is refused leaves its words."""
        folder = self.place / "labels" / way
        if (folder / ".ready").is_file() or (folder / "refused.txt").is_file():
            return
        maps = self.data / "maps" / self.options.scores
        calibrating, filtering = LABELS[way]
        try:
            if calibrating is not None:
                given = ["--maps", maps, "--labels", self.data / "SegmentationClass"]
                given += ["--ids", self.data / "labeled_ids.txt", "-o", folder / "calibration.json"]
                if self.options.background is not None:
                    given += ["--background", self.options.background]
                _command("calibrate", *given, *calibrating, "--quiet", aloud=True)
                filtering = ["--calibration", folder / "calibration.json"]
            given = ["--maps", maps, "--ids", self.data / "unlabeled_ids.txt", "--json"]
            made = _command("filter", *given, *filtering, "--out", folder / "png", "--quiet")
            if not json.loads(made)["kept"]:
                raise ConformalError("no pixel of the unlabelled photos keeps a label")
        except ConformalError as error:
            atomic_write_text(folder / "refused.txt", f"{error}\n")
        else:
            (folder / ".ready").touch()


def _command(*words: object, aloud: bool = False) -> str:
    """One of the command's own, as in a shell, and what it printed.

    Args:
        *words: of the command line.
        aloud: show what it says beside.

    Raises:
        ConformalError: what it said at an error.
    """
    print(f"conformal-plugin {words[0]} ...", file=sys.stderr, flush=True)
    printed, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        code = conformal_plugin([str(word) for word in words])
    if code:
        raise ConformalError(said.getvalue().strip())
    if aloud:
        print(said.getvalue(), end="", file=sys.stderr)
    return printed.getvalue()
