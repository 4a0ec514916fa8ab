"""What the host study has found, of one bed or of several: tables, CSV and the curves."""

from __future__ import annotations

import argparse
import csv
import io
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from host_curves import Curve, curves_figure
from host_rows import ROWS

from conformal_plugin._atomic import atomic_write_text

__all__ = ["COLUMNS", "Line", "main", "overview", "summary", "table", "write_csv"]

EXAMPLES = """\
example:
  python examples/host_table.py runs/host_study --csv host_study.csv --figure host_study.svg
      all beds, forms of scores and scripts that host_study.py has run into that folder
"""

SHOWN = ("supervised", "supervised-as-long", "host", "default", "ceiling")
"""Rows of the overview and of the curves; of the first two the second, where it is there."""


@dataclass(frozen=True)
class Line:
    """One epoch of one run.

    Attributes:
        bed, labelled, scores, script: of which study.
        classes: that the mIoU is over, ``all`` or their numbers.
        row: of :data:`host_rows.ROWS`.
        seed, epoch: of which run, from 0.
        miou: in percent, over the classes that were asked for.
        mask_ratio: the share of pixels that the host trusted, where it says so.
        processor_seconds: of the whole run, the same in each of its epochs.
    """

    bed: str
    labelled: int | str
    scores: str
    script: str
    classes: str
    row: str
    seed: int
    epoch: int
    miou: float
    mask_ratio: float | None
    processor_seconds: float | None

    @property
    def study(self) -> tuple[str, ...]:
        """What stays the same within one table."""
        return self.bed, str(self.labelled), self.scores, self.script


COLUMNS = tuple(field.name for field in fields(Line))


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table for each study and one of all; return the exit code."""
    parser = _parser()
    options = parser.parse_args(argv)
    paths = sorted(options.out.glob("*/results.csv"))
    if not paths:
        parser.error(f"{options.out}: expected folders of host_study.py with a results.csv in each")
    lines = [line for path in paths for line in read_csv(path)]
    for study, some in by_study(lines).items():
        print(f"{', '.join(study)}\n\n{table(some, options.last)}\n")
    print(overview(lines, options.last))
    if options.csv is not None:
        write_csv(lines, options.csv)
    if options.figure is not None:
        atomic_write_text(options.figure, curves_figure(panels(lines)))
    return 0


def read_csv(path: Path) -> list[Line]:
    """The lines that :func:`write_csv` wrote."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Line(
                **{name: row[name] for name in ("bed", "labelled", "scores", "script", "row")},
                classes=row.get("classes", "all"),
                seed=int(row["seed"]),
                epoch=int(row["epoch"]),
                miou=float(row["miou"]),
                mask_ratio=_number(row["mask_ratio"]),
                processor_seconds=_number(row["processor_seconds"]),
            )
            for row in csv.DictReader(file)
        ]


def write_csv(lines: Iterable[Line], path: Path) -> None:
    """A line each, with the names of the columns first."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({**asdict(line), "miou": round(line.miou, 3)} for line in lines)
    atomic_write_text(path, text.getvalue())


def by_study(lines: Iterable[Line]) -> dict[tuple[str, ...], list[Line]]:
    """The lines of each bed, number of labelled photos, form of scores and script."""
    found: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        found.setdefault(line.study, []).append(line)
    return found


def summary(lines: Iterable[Line], last: int) -> dict[str, dict[int, float]]:
    """The mean over the last epochs of each run of one study, by row and seed."""
    runs: dict[str, dict[int, list[tuple[int, float]]]] = {}
    for line in lines:
        epochs = runs.setdefault(line.row, {}).setdefault(line.seed, [])
        epochs.append((line.epoch, line.miou))
    return {
        row: {
            seed: statistics.fmean(value for _, value in sorted(epochs)[-last:])
            for seed, epochs in seeds.items()
        }
        for row, seeds in runs.items()
    }


def table(lines: Iterable[Line], last: int) -> str:
    """Rows by mIoU, and how far above the host alone with the same seeds, as Markdown."""
    lines = list(lines)
    found = summary(lines, last)
    text = [f"| | seeds | mIoU, last {last} epochs | above the host alone |", "| --- " * 4 + "|"]
    for row, seeds in found.items():
        gain = "-" if row == "host" else _above(seeds, found.get("host", {}))
        text.append(f"| {ROWS[row].title} | {len(seeds)} | {_spread([*seeds.values()])} | {gain} |")
    return "\n".join([*text, "", *_caption(lines, found, last)])


def _caption(lines: Sequence[Line], found: dict[str, dict[int, float]], last: int) -> list[str]:
    """What the figures are of."""
    classes = " and ".join(dict.fromkeys(line.classes for line in lines))
    of = "all classes" if classes == "all" else f"classes {classes}"
    epochs = 1 + max(line.epoch for line in lines)
    what = f"mIoU in percent over {of} of the test photos, mean over the last {last} of {epochs}"
    text = [
        f"{what} epochs, then mean ± standard deviation over seeds; differences seed by seed.",
    ]
    if any(len(seeds) < 2 for seeds in found.values()):
        text.append("One seed shows nothing: runs of the same row differ by points.")
    return text


def overview(lines: Iterable[Line], last: int) -> str:
    """A row for each study: labels only, the host alone and with the plug-in, true masks."""
    titles = ("labels only", "the host alone", "**with the plug-in**", "above it", "true masks")
    text = [
        f"| data, labelled photos, scores, script | seeds | {' | '.join(titles)} |",
        "| --- " * 7 + "|",
    ]
    for study, some in by_study(lines).items():
        found = summary(some, last)
        short, long, host, ours, ceiling = (found.get(row, {}) for row in SHOWN)
        labels = long or short
        if not ours:
            continue
        cells = [_spread([*seeds.values()]) for seeds in (labels, host, ours)]
        cells += [_above(ours, host), _spread([*ceiling.values()])]
        text.append(f"| {', '.join(study)} | {len(ours)} | {' | '.join(cells)} |")
    return "\n".join(text)


def panels(lines: Iterable[Line]) -> dict[str, list[Curve]]:
    """Per study a curve for each of the rows that are shown."""
    shown: dict[str, list[Curve]] = {}
    for study, some in by_study(lines).items():
        rows = {line.row for line in some}
        for number, row in enumerate(SHOWN[1:]):
            found = SHOWN[0] if number == 0 and row not in rows else row
            if epochs := _by_epoch([line for line in some if line.row == found]):
                curve = Curve(ROWS[found].title, epochs, number)
                shown.setdefault(", ".join(study), []).append(curve)
    return shown


def _by_epoch(lines: Sequence[Line]) -> list[list[float]]:
    """The values of all seeds, epoch by epoch."""
    epochs = sorted({line.epoch for line in lines})
    return [[line.miou for line in lines if line.epoch == epoch] for epoch in epochs]


def _above(seeds: dict[int, float], alone: dict[int, float]) -> str:
    """The difference to the host alone, taken seed by seed."""
    return _spread([value - alone[seed] for seed, value in seeds.items() if seed in alone], "+")


def _spread(values: Sequence[float], sign: str = "") -> str:
    if not values:
        return "-"
    mean = f"{round(statistics.fmean(values), 1) + 0.0:{sign}.1f}"  # never -0.0
    return f"{mean} ± {statistics.stdev(values):.1f}" if len(values) > 1 else mean


def _number(text: str) -> float | None:
    return float(text) if text else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="host_table.py",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("out", type=Path, help="what host_study.py was given as --out")
    parser.add_argument(
        "--last", type=int, default=2, metavar="N", help="epochs that count (default: 2)"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="each epoch of each run")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="SVG: a panel for each study")
    return parser


if __name__ == "__main__":
    sys.exit(main())
