"""The table of the study of beds: means over seeds, their spread, and how far rows are behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["Row", "print_table"]


@dataclass(frozen=True)
class Row:
    """One way to train: per cell the students' mIoU in percent, and whether it refused to label."""

    name: str
    cells: Sequence[tuple[Sequence[float], bool]]

    @property
    def means(self) -> list[float]:
        """Over seeds, per cell; NaN where no student is there."""
        return [float(np.mean(found)) if found else float("nan") for found, _ in self.cells]

    @property
    def spread(self) -> float:
        """The standard deviation over seeds, pooled over cells."""
        variances = [np.var(found, ddof=1) for found, _ in self.cells if len(found) > 1]
        return float(np.sqrt(np.mean(variances))) if variances else float("nan")


def print_table(cells: Sequence[str], rows: Sequence[Row], at_hand: Sequence[str]) -> None:
    """Print means in Markdown, then each row against the best of those at hand, in points."""
    print(f"| bed, labelled, scores | {' | '.join(row.name for row in rows)} |")
    print(f"|{' --- |' * (len(rows) + 1)}")
    for number, cell in enumerate(cells):
        print(f"| {cell} | {' | '.join(_entry(row, number) for row in rows)} |")
    print(f"| spread | {' | '.join(_spread(row) for row in rows)} |")
    best = [row.means for row in rows if row.name in at_hand]
    if {row.name for row in rows} < set(at_hand) or not best:
        return
    print(f"\nbehind the best of {', '.join(at_hand)}:")
    for row in rows:
        behind = np.max(best, axis=0) - row.means
        done = np.isfinite(behind)
        if done.any():
            print(
                f"  {row.name}: {behind[done].mean():.1f} in the mean, {behind[done].max():.1f} at "
                f"most, at most 1 in {(behind[done] <= 1).sum()} of {done.sum()} cells, better by "
                f"more than 1 in {(behind[done] < -1).sum()}"
            )


def _entry(row: Row, number: int) -> str:
    found, refused = row.cells[number]
    return f"{np.mean(found):.1f}{' (refused)' * refused}" if found else ""


def _spread(row: Row) -> str:
    return f"{row.spread:.1f}" if np.isfinite(row.spread) else ""
