"""The figure of the host study: mIoU by epoch, a panel a study, a line a row."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from conformal_plugin.reporting._svg import STYLE

__all__ = ["Curve", "curves_figure"]

PANEL, HEIGHT, GAP, LEFT, TOP = 330, 190, 64, 52, 28
COLUMNS, KEY = 2, 20
DASHES = ("2 3", "6 4", "", "8 3 2 3")


@dataclass(frozen=True)
class Curve:
    """A row of a study.

    Attributes:
        title: in words.
        epochs: the values of its seeds, epoch by epoch, in percent.
        number: of its colour and dashes, from 0, the same in every figure.
    """

    title: str
    epochs: Sequence[Sequence[float]]
    number: int


def curves_figure(panels: Mapping[str, Sequence[Curve]]) -> str:
    """An SVG file: the mean over the seeds as a line, from the lowest to the highest as a band."""
    parts: list[str] = []
    columns = min(COLUMNS, max(1, len(panels)))
    for number, (title, curves) in enumerate(panels.items()):
        left = LEFT + (number % columns) * (PANEL + GAP)
        top = TOP + (number // columns) * (HEIGHT + 2 * GAP)
        parts += _panel(title, curves, left, top)
    bottom = TOP + math.ceil(len(panels) / columns) * (HEIGHT + 2 * GAP) - GAP
    keys = {curve.title: curve.number for curves in panels.values() for curve in curves}
    y = bottom
    for title, number in keys.items():
        y += KEY
        parts.append(
            f'<line x1="{LEFT}" x2="{LEFT + 26}" y1="{y}" y2="{y}" {_stroke(number)}/>'
            f'<text x="{LEFT + 32}" y="{y + 4}">{escape(title)}</text>'
        )
    y += KEY
    parts.append(
        f'<text class="axis" x="{LEFT}" y="{y + 4}">lines: mean over seeds; '
        f"bands: lowest to highest</text>"
    )
    what = "mIoU on the test photos by epoch, in percent"
    width = LEFT + columns * (PANEL + GAP)
    return (
        f'<svg class="cp" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y + 14}" '
        f'role="img" aria-label="{what}"><style>{STYLE}svg{{background:var(--paper)}}</style>'
        f"<title>{what}</title>{''.join(parts)}</svg>\n"
    )


def _panel(title: str, curves: Sequence[Curve], left: float, top: float) -> list[str]:
    values = [value for curve in curves for epoch in curve.epochs for value in epoch]
    low, high = 10 * math.floor(min(values) / 10), 10 * math.ceil(max(values) / 10)
    epochs = max(len(curve.epochs) for curve in curves)

    def x(epoch: int) -> float:
        return round(left + PANEL * epoch / max(epochs - 1, 1), 1)

    def y(value: float) -> float:
        return round(top + HEIGHT * (high - value) / max(high - low, 10), 1)

    parts = [f'<text x="{left}" y="{top - 12}" font-weight="bold">{escape(title)}</text>']
    for tick in range(low, high + 1, 10):
        parts.append(
            f'<line class="grid" x1="{left}" x2="{left + PANEL}" y1="{y(tick)}" y2="{y(tick)}"/>'
            f'<text class="axis end" x="{left - 6}" y="{y(tick) + 4}">{tick}</text>'
        )
    for epoch in range(epochs):
        parts.append(
            f'<text class="axis mid" x="{x(epoch)}" y="{top + HEIGHT + 16}">{epoch}</text>'
        )
    middle = left + PANEL / 2
    parts.append(f'<text class="axis mid" x="{middle}" y="{top + HEIGHT + 32}">epoch</text>')
    x_name, y_name = left - 30, top + HEIGHT / 2
    parts.append(
        f'<text class="axis mid" x="{x_name}" y="{y_name}" '
        f'transform="rotate(-90 {x_name} {y_name})">mIoU, %</text>'
    )
    for curve in curves:
        number = curve.number
        there = [f"{x(at)},{y(max(some))}" for at, some in enumerate(curve.epochs)]
        back = [f"{x(at)},{y(min(some))}" for at, some in enumerate(curve.epochs)]
        mean = [f"{x(at)},{y(statistics.fmean(some))}" for at, some in enumerate(curve.epochs)]
        parts.append(
            f'<polygon points="{" ".join(there + back[::-1])}" fill="var(--c{number % 4})" '
            f'fill-opacity=".14"/><polyline points="{" ".join(mean)}" {_stroke(number)}/>'
        )
    return parts


def _stroke(number: int) -> str:
    dash = DASHES[number % len(DASHES)]
    return f'fill="none" stroke="var(--c{number % 4})" stroke-width="2" stroke-dasharray="{dash}"'
