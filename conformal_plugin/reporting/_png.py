"""A chart as a PNG file: its SVG in the light colours, drawn by resvg."""

from __future__ import annotations

import io
import re
from typing import Any

from conformal_plugin._extras import optional
from conformal_plugin.errors import MissingExtraError
from conformal_plugin.reporting._svg import LIGHT, RULES, WIDTH

__all__ = ["SCALE", "drawn", "require_renderer"]

SCALE = 2  # pixels per unit of the SVG, which is a pixel of the page

# resvg knows fonts by their own names, where a browser resolves the first and the last of these.
_FONTS = (
    "system-ui,'Segoe UI','Helvetica Neue',Arial,'DejaVu Sans','Liberation Sans','Noto Sans',"
    "sans-serif"
)
_STYLE = f".cp{{font-size:12px;font-family:{_FONTS}}}{RULES}"
_TEXT = (
    '<svg class="cp" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 20 20"><title>a</title>'
    '<text x="2" y="16">a</text></svg>'
)


def drawn(svg: str) -> bytes:
    """A chart as PNG, twice its size.

    Raises:
        MissingExtraError: resvg-py is not installed.
    """
    styled = svg.replace("><title>", f"><style>{_STYLE}</style><title>", 1)
    plain = re.sub(r"var\(--(\w+)\)", lambda found: LIGHT[found[1]], styled)
    image = _resvg().svg_to_bytes(
        svg_string=plain, background=LIGHT["paper"], width=round(SCALE * WIDTH)
    )
    return bytes(image)


def require_renderer() -> None:
    """Try it, before any work.

    Raises:
        MissingExtraError: resvg-py is not installed, or finds no font to write with.
    """
    image = optional("PIL.Image", "pillow", "drawing PNG figures").open(io.BytesIO(drawn(_TEXT)))
    low, high = image.convert("L").getextrema()
    if low == high:
        raise MissingExtraError(
            "PNG figures need a sans-serif font, and this system has none that resvg finds; "
            "install one, such as DejaVu Sans (Debian: fonts-dejavu-core)"
        )


def _resvg() -> Any:
    return optional("resvg_py", "resvg-py", "drawing PNG figures")
