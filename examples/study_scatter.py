"""The figure of the lesson: students against what was measured of their labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from study_lesson import MEASURES, LabelSet

from conformal_plugin.reporting._svg import STYLE

__all__ = ["scatter"]

PANELS = ("precision", "label_core_miou", "objects_net")
KINDS = {
    "raw": ("c1", "raw"),
    "fixed": ("c3", "fixed threshold"),
    "chosen": ("c2", "chosen"),
}
REST = ("c0", "calibrated")
SIDE, LEFT, TOP, GAP = 224, 56, 30, 28
WIDTH = LEFT + len(PANELS) * (SIDE + GAP)
HEIGHT = TOP + SIDE + 62

Scale = Callable[[float], float]


def scatter(sets: Sequence[LabelSet]) -> str:
    """An SVG file: a panel per measure, a dot per label set, upwards the students' core mIoU."""
    students = [one.student for one in sets]
    ticks, y = _scale(students, TOP + SIDE, TOP)
    middle = TOP + SIDE / 2
    turned = f'x="14" y="{middle:g}" transform="rotate(-90 14 {middle:g})"'
    parts = [f'<text class="axis mid" {turned}>core mIoU of the student</text>']
    for number, name in enumerate(PANELS):
        left = LEFT + number * (SIDE + GAP)
        across, x = _scale([one.measures[name] for one in sets], left, left + SIDE)
        parts += _frame(MEASURES[name], left, (across, x), (ticks, y))
        parts += [
            f'<circle cx="{x(one.measures[name])}" cy="{y(one.student)}" r="4" fill-opacity=".7" '
            f'fill="var(--{KINDS.get(one.labelling, REST)[0]})"/>'
            for one in sets
        ]
    at = LEFT
    for colour, text in (REST, *KINDS.values()):
        parts.append(f'<circle cx="{at + 4}" cy="{HEIGHT - 12}" r="4" fill="var(--{colour})"/>')
        parts.append(f'<text x="{at + 13}" y="{HEIGHT - 8}">{text}</text>')
        at += 34 + 7 * len(text)
    what = "Students' core mIoU against precision, mIoU and objects of their labels, in percent"
    return (
        f'<svg class="cp" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'role="img" aria-label="{what}"><style>{STYLE}svg{{background:var(--paper)}}</style>'
        f"<title>{what}</title>{''.join(parts)}</svg>\n"
    )


def _scale(values: Sequence[float], start: float, end: float) -> tuple[list[float], Scale]:
    """Round numbers that hold all values between them, and where on the page a value is."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    step = next(step for step in (0.05, 0.1, 0.2, 0.5, 1.0) if high - low <= 5 * step)
    first, last = math.floor(low / step), max(math.ceil(high / step), math.floor(low / step) + 1)
    ticks = [step * number for number in range(first, last + 1)]

    def place(value: float) -> float:
        return round(start + (end - start) * (value - ticks[0]) / (ticks[-1] - ticks[0]), 1)

    return ticks, place


def _frame(
    title: str,
    left: float,
    across: tuple[Sequence[float], Scale],
    up: tuple[Sequence[float], Scale],
) -> list[str]:
    """Lines, numbers and the title of a panel."""
    bottom, right = TOP + SIDE, left + SIDE
    parts = [f'<text x="{left}" y="{TOP - 12}" font-weight="bold">{title}</text>']
    for value in across[0]:
        x = across[1](value)
        parts.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{TOP}" y2="{bottom}"/>')
        parts.append(f'<text class="axis mid" x="{x}" y="{bottom + 16}">{100 * value:.0f}</text>')
    for value in up[0]:
        y = up[1](value)
        parts.append(f'<line class="grid" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>')
        if left == LEFT:
            number = f"{100 * value:.0f}"
            parts.append(f'<text class="axis end" x="{left - 6}" y="{y + 4}">{number}</text>')
    return parts
