"""Colours for label maps that people with any colour vision tell apart, as far as they reach."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["BACKGROUND", "class_colours"]

BACKGROUND = (58, 58, 58)

# Okabe and Ito's, then the rest of Paul Tol's "muted" scheme.
_COLOURS = (
    *((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233)),
    *((213, 94, 0), (240, 228, 66), (51, 34, 136), (136, 34, 85), (68, 170, 153)),
    *((153, 153, 51), (170, 68, 153), (102, 17, 0), (221, 204, 119), (17, 119, 51)),
)


def class_colours(
    classes: Sequence[int], background: int | None
) -> dict[int, tuple[int, int, int]]:
    """A colour for each class that is shown; beyond fifteen they repeat."""
    shown = [c for c in classes if c != background]
    colours = {c: _COLOURS[i % len(_COLOURS)] for i, c in enumerate(shown)}
    if background is not None:
        colours[background] = BACKGROUND
    return colours
