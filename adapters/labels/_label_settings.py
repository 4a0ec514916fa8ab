"""What lies beside pseudo-labels: the settings that ``conformal-plugin filter`` made them with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from conformal_plugin._json import parsed

__all__ = ["LABEL_SETTINGS", "label_remarks", "label_settings", "labelled_pixels"]

LABEL_SETTINGS = "labels.json"
"""The file beside the pseudo-labels that holds what they were made with."""


def label_settings(folder: Path) -> Mapping[str, Any] | None:
    """The settings of a folder of pseudo-labels; None where they are not there, or damaged."""
    try:
        content = parsed((folder / LABEL_SETTINGS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def labelled_pixels(folder: Path) -> list[int] | None:
    """Of each class, the labelled pixels that were calibrated on for a folder of pseudo-labels.

    None where these were made without a calibration, or by something else.
    """
    pixels = (label_settings(folder) or {}).get("labelled_pixels_per_class")
    if not isinstance(pixels, list) or not all(type(count) is int for count in pixels):
        return None
    return pixels


def label_remarks(folder: Path) -> list[str]:
    """What ``filter`` warned of in a folder of pseudo-labels, a sentence or two each."""
    remarks = (label_settings(folder) or {}).get("remarks")
    if not isinstance(remarks, list):
        return []
    return [remark for remark in remarks if isinstance(remark, str)]
