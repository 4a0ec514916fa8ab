"""The figure of the study: a panel per form of scores, a dot per student."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from html import escape

from study_report import Line, Summary, spread, summaries

from conformal_plugin.reporting._svg import STYLE

__all__ = ["figure"]

WIDTH = 760
LEFT, RIGHT = 330, 92
ROW = 20
LINES = {"labels-only": "c3", "true-masks": "c2"}


def figure(lines: Sequence[Line]) -> str:
    """An SVG file: students' core mIoU by row, a dot per seed and a bar at their mean.

    Vertical lines are the means of the labels alone and of the true masks. Rows without a finished
    training are left out, and so are the rows that have one seed by design.
    """
    panels = {
        key: [one for one in some if one.core and one.group != "rest"]
        for key, some in summaries(lines).items()
    }
    panels = {key: some for key, some in panels.items() if some}
    values = [value for some in panels.values() for one in some for value in one.core]
    low = math.floor(20 * min(values, default=0.0)) / 20
    high = max(math.ceil(20 * max(values, default=1.0)) / 20, low + 0.05)
    parts: list[str] = []
    top = 8
    for (form, labelled), some in panels.items():
        parts += _panel(f"{form} scores, {labelled} labelled photos", some, top, low, high)
        top += ROW * len(some) + 66
    title = "Students' core mIoU on the test photos, in percent"
    return (
        f'<svg class="cp" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top}" '
        f'role="img" aria-label="{title}"><style>{STYLE}svg{{background:var(--paper)}}</style>'
        f"<title>{title}</title>{''.join(parts)}</svg>\n"
    )


def _panel(title: str, some: Sequence[Summary], top: float, low: float, high: float) -> list[str]:
    def x(value: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (value - low) / (high - low), 1)

    first, bottom = top + 24, top + 24 + ROW * len(some)
    parts = [f'<text x="8" y="{top + 12}" font-weight="bold">{escape(title)}</text>']
    for step in range(round((high - low) / 0.05) + 1):
        at = x(low + 0.05 * step)
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{first}" y2="{bottom}"/>')
        text = f"{100 * (low + 0.05 * step):.0f}"
        parts.append(f'<text class="axis mid" x="{at}" y="{bottom + 16}">{text}</text>')
    for one in some:
        colour = LINES.get(one.line["labelling"])
        if colour:
            at = x(statistics.fmean(one.core))
            parts.append(
                f'<line x1="{at}" x2="{at}" y1="{first}" y2="{bottom}" stroke="var(--{colour})" '
                f'stroke-width="1.5" stroke-dasharray="5 3"/>'
            )
    for row, one in enumerate(some):
        parts += _dots(one, first + ROW * (row + 0.5), x)
    return parts


def _dots(one: Summary, y: float, x: Callable[[float], float]) -> list[str]:
    colour = f"var(--{LINES.get(one.line['labelling'], 'c0')})"
    mean = x(statistics.fmean(one.core))
    bar = f'<line x1="{mean}" x2="{mean}" y1="{y - 7}" y2="{y + 7}" stroke="{colour}"'
    parts = [
        f'<text class="end" x="{LEFT - 10}" y="{y + 4}">{escape(one.title)}</text>',
        f'{bar} stroke-width="3"/>',
        f'<text class="small" x="{WIDTH - RIGHT + 8}" y="{y + 4}">{spread(one.core)}</text>',
    ]
    parts += [
        f'<circle cx="{x(value)}" cy="{y}" r="3.5" fill="{colour}" fill-opacity=".6"/>'
        for value in one.core
    ]
    return parts
