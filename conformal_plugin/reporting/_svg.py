"""Charts as small SVG text: lines with bands, rows of bars, and a matrix of shares."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

__all__ = ["LIGHT", "RULES", "STYLE", "WIDTH", "Series", "bar_rows", "line_chart", "matrix"]

WIDTH = 420
_DASHES = ("", "6 4", "2 3", "8 3 2 3")

# The colours of Okabe and Ito, which people with any colour vision tell apart; lighter on dark.
LIGHT = {
    "ink": "#1b1b1b",
    "dim": "#5c5c5c",
    "rule": "#d9d9d9",
    "paper": "#ffffff",
    "c0": "#0072b2",
    "c1": "#d55e00",
    "c2": "#007d5c",
    "c3": "#a3457d",
}
_DARK = {
    "ink": "#ececec",
    "dim": "#aaaaaa",
    "rule": "#444444",
    "paper": "#17191c",
    "c0": "#56b4e9",
    "c1": "#ff9b4a",
    "c2": "#3fd0a4",
    "c3": "#e79ac6",
}
RULES = """
.cp text{fill:var(--ink)}.cp .axis{fill:var(--dim)}.cp .grid{stroke:var(--rule)}
.cp .end{text-anchor:end}.cp .mid{text-anchor:middle}.cp .small{font-size:10.5px}
""".strip()


def _declared(colours: Mapping[str, str]) -> str:
    return ";".join(f"--{name}:{colour}" for name, colour in colours.items())


STYLE = (
    f".cp{{font:12px system-ui,sans-serif;{_declared(LIGHT)}}}\n"
    f"@media (prefers-color-scheme:dark){{.cp{{{_declared(_DARK)}}}}}\n{RULES}"
)


@dataclass(frozen=True)
class Series:
    """A line with an optional band, or a bar of every row.

    Attributes:
        name: for the legend.
        values: one per place; NaN leaves a gap.
        low, high: edges of the band, or none.
        colour: 0 to 3.
        lined: False draws the band alone.
    """

    name: str
    values: Sequence[float]
    low: Sequence[float] = ()
    high: Sequence[float] = ()
    colour: int = 0
    lined: bool = True


def line_chart(
    title: str,
    description: str,
    x: Sequence[float],
    series: Sequence[Series],
    *,
    x_label: str,
    mark: float | None = None,
) -> str:
    """Lines over ``x``; values are shares, shown in percent from the lowest one up."""
    left, right, top, bottom = 44, 12, 10, 250
    legend = [s for s in series if s.name]
    height = bottom + 44 + 18 * len(legend)
    seen = [v for s in series for v in (*s.values, *s.low, *s.high) if not math.isnan(v)]
    lowest = math.floor(10 * min(seen, default=0.0)) / 10
    lowest = min(lowest, 0.9)
    step = 0.05 if lowest >= 0.75 else 0.1 if lowest >= 0.45 else 0.2
    most = max(x, default=0.4)

    def px(value: float) -> float:
        return round(left + (WIDTH - left - right) * value / most, 1)

    def py(value: float) -> float:
        return round(bottom - (bottom - top) * (value - lowest) / (1.0 - lowest), 1)

    parts = []
    for i in range(round((1 - lowest) / step) + 1):
        y = py(1 - i * step)
        parts.append(f'<line class="grid" x1="{left}" x2="{WIDTH - right}" y1="{y}" y2="{y}"/>')
        text = f"{100 * (1 - i * step):.0f} %"
        parts.append(f'<text class="axis end" x="{left - 6}" y="{y + 4}">{text}</text>')
    for value in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5):
        if value <= most + 1e-9:
            parts.append(
                f'<text class="axis mid" x="{px(value)}" y="{bottom + 16}">{value:g}</text>'
            )
    parts.append(
        f'<text class="axis mid" x="{(left + WIDTH) / 2}" y="{bottom + 32}">'
        f"{escape(x_label)}</text>"
    )
    if mark is not None and 0 < mark <= most:
        parts.append(
            f'<line x1="{px(mark)}" x2="{px(mark)}" y1="{top}" y2="{bottom}" '
            f'stroke="var(--ink)" stroke-dasharray="1 3"/>'
        )
    for number, one in enumerate(series):
        parts += _band(one, x, px, py)
        if one.lined:
            parts += _line(one, x, px, py, _DASHES[number % len(_DASHES)])
    for row, one in enumerate(legend):
        y = bottom + 52 + 18 * row
        parts += _key(one, left, y, _DASHES[series.index(one) % len(_DASHES)])
    return _svg(title, description, height, parts)


def bar_rows(title: str, description: str, names: Sequence[str], series: Sequence[Series]) -> str:
    """A row per name with one bar per series, each a share with its number."""
    left, bar, gap, top = 112, 13, 9, 8 + 18 * len(series)
    pitch = bar * len(series) + gap
    length = WIDTH - left - 52
    parts = []
    for number, one in enumerate(series):
        parts.append(
            f'<rect x="{left}" y="{4 + 18 * number}" width="16" height="10" '
            f'fill="var(--c{one.colour})"/>'
            f'<text x="{left + 22}" y="{13 + 18 * number}">{escape(one.name)}</text>'
        )
    for row, name in enumerate(names):
        y = top + 4 + row * pitch
        middle = y + (pitch - gap) / 2 + 4
        parts.append(f'<text class="end" x="{left - 8}" y="{middle}">{escape(_cut(name))}</text>')
        for number, one in enumerate(series):
            value, place = one.values[row], y + number * bar
            shown = "none" if math.isnan(value) else f"{100 * value:.1f} %"
            width = 0.0 if math.isnan(value) else round(length * value, 1)
            parts.append(
                f'<rect x="{left}" y="{place}" width="{width}" height="{bar - 2}" '
                f'fill="var(--c{one.colour})"/>'
                f'<text class="small" x="{left + width + 5}" y="{place + 9.5}">{shown}</text>'
            )
    return _svg(title, description, top + len(names) * pitch + 4, parts)


def matrix(
    title: str,
    description: str,
    rows: Sequence[str],
    columns: Sequence[str],
    shares: Sequence[Sequence[float]],
) -> str:
    """Shares of each row as shaded cells with their percentage."""
    left, top = 92, 84
    cell = min(34.0, (WIDTH - left - 34) / max(1, len(columns)))  # slanted names reach out
    parts = []
    for j, name in enumerate(columns):
        x = left + (j + 0.6) * cell
        parts.append(
            f'<text class="small" transform="translate({x:.1f} {top - 6}) rotate(-50)">'
            f"{escape(_cut(name))}</text>"
        )
    for i, (name, line) in enumerate(zip(rows, shares)):
        y = top + i * cell
        parts.append(
            f'<text class="small end" x="{left - 6}" y="{y + cell / 2 + 4:.1f}">'
            f"{escape(_cut(name))}</text>"
        )
        for j, value in enumerate(line):
            x = left + j * cell
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{cell - 1:.1f}" height="{cell - 1:.1f}" '
                f'fill="var(--c0)" fill-opacity="{0.04 + 0.5 * value:.2f}">'
                f"<title>{escape(name)} labelled {escape(columns[j])}: {100 * value:.1f} %</title>"
                f"</rect>"
            )
            if value >= 0.005:
                parts.append(
                    f'<text class="small mid" x="{x + cell / 2:.1f}" y="{y + cell / 2 + 4:.1f}">'
                    f"{100 * value:.0f}</text>"
                )
    return _svg(title, description, round(top + len(rows) * cell + 6), parts)


def _band(
    one: Series, x: Sequence[float], px: Callable[[float], float], py: Callable[[float], float]
) -> list[str]:
    known = [i for i in range(len(one.low)) if not math.isnan(one.low[i] + one.high[i])]
    if not known:
        return []
    there = [f"{px(x[i])},{py(one.high[i])}" for i in known]
    back = [f"{px(x[i])},{py(one.low[i])}" for i in reversed(known)]
    points = " ".join(there + back)
    return [f'<polygon points="{points}" fill="var(--c{one.colour})" fill-opacity=".18"/>']


def _line(
    one: Series,
    x: Sequence[float],
    px: Callable[[float], float],
    py: Callable[[float], float],
    dash: str,
) -> list[str]:
    known = [i for i in range(len(x)) if not math.isnan(one.values[i])]
    places = [(px(x[i]), py(one.values[i])) for i in known]
    points = " ".join(f"{a},{b}" for a, b in places)
    colour = f"var(--c{one.colour})"
    dots = [f'<circle cx="{a}" cy="{b}" r="2.4" fill="{colour}"/>' for a, b in places]
    line = (
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2" '
        f'stroke-dasharray="{dash}"/>'
    )
    return [line, *dots]


def _key(one: Series, x: int, y: int, dash: str) -> list[str]:
    colour = f"var(--c{one.colour})"
    sample = (
        f'<line x1="{x}" x2="{x + 26}" y1="{y - 4}" y2="{y - 4}" stroke="{colour}" '
        f'stroke-width="2" stroke-dasharray="{dash}"/>'
        if one.lined
        else f'<rect x="{x}" y="{y - 10}" width="26" height="11" fill="{colour}" '
        f'fill-opacity=".18"/>'
    )
    return [sample, f'<text x="{x + 32}" y="{y}">{escape(one.name)}</text>']


def _cut(name: str) -> str:
    return name if len(name) <= 14 else f"{name[:13]}…"


def _svg(title: str, description: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg class="cp" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" '
        f'role="img" aria-label="{escape(f"{title}. {description}")}">'
        f"<title>{escape(title)}</title>{''.join(parts)}</svg>"
    )
