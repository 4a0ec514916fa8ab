"""A calibration as a versioned JSON file has it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from conformal_plugin.calibration._guarantee import Guarantee
from conformal_plugin.errors import CalibrationFileError

__all__ = ["fields_of", "json_of"]

_FORMAT = "conformal-plugin calibration"
_VERSION = 1


def json_of(fields: Mapping[str, Any]) -> str:
    """The fields of a calibration as JSON; infinite thresholds are written as strings."""
    content = {
        "format": _FORMAT,
        "version": _VERSION,
        "qhat": _encode(fields["qhat"]),
        "alpha": fields["alpha"],
        "guarantee": vars(fields["guarantee"]),
        "score": fields["score"],
        "num_classes": len(fields["pixels_per_class"]),
        "ignore_index": fields["ignore_index"],
        "n_pixels": fields["n_pixels"],
        "n_images": fields["n_images"],
        "pixels_per_class": fields["pixels_per_class"].tolist(),
        "images_per_class": fields["images_per_class"].tolist(),
        "resolution": fields["resolution"],
        "n_effective": fields["n_effective"],
        "n_repeats": fields["n_repeats"],
        "pooled_classes": list(fields["pooled_classes"]),
        "left_out_classes": list(fields["left_out_classes"]),
        "rule": fields["rule"],
        "background": fields["background"],
        "max_pixels": fields["max_pixels"],
    }
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def fields_of(text: str) -> dict[str, Any]:
    """The fields of a calibration, by name, that :func:`json_of` wrote.

    Raises:
        CalibrationFileError: not a calibration, of another version, or damaged.
    """
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        raise CalibrationFileError(
            f"a calibration is a JSON object, and this text is not JSON ({error}); write it "
            f"again with Calibration.save or `conformal-plugin calibrate`"
        ) from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise CalibrationFileError(
            f'expected a JSON object with "format": "{_FORMAT}", which this is not; pass a '
            f"file that Calibration.save or `conformal-plugin calibrate` wrote"
        )
    if content.get("version") != _VERSION:
        raise CalibrationFileError(
            f"this calibration is of version {content.get('version')!r} and this release reads "
            f"version {_VERSION}; calibrate again, or install the release that wrote it"
        )
    try:
        return {
            "qhat": _decode(content["qhat"]),
            "alpha": float(content["alpha"]),
            "guarantee": Guarantee(**content["guarantee"]),
            "ignore_index": int(content["ignore_index"]),
            "n_pixels": int(content["n_pixels"]),
            "n_images": int(content["n_images"]),
            "pixels_per_class": np.array(content["pixels_per_class"], dtype=np.int64),
            "images_per_class": np.array(content["images_per_class"], dtype=np.int64),
            "resolution": float(content["resolution"]),
            "score": str(content["score"]),
            # Absent from the first files of this version.
            "n_effective": _optional_float(content.get("n_effective")),
            "n_repeats": int(content.get("n_repeats", 0)),
            "pooled_classes": tuple(map(int, content.get("pooled_classes", ()))),
            "left_out_classes": tuple(map(int, content.get("left_out_classes", ()))),
            "rule": content.get("rule"),
            "background": content.get("background"),
            "max_pixels": content.get("max_pixels"),
        }
    except (KeyError, TypeError, ValueError) as error:
        raise CalibrationFileError(
            f"this calibration is damaged ({type(error).__name__}: {error}); calibrate again"
        ) from error


def _optional_float(value: Any) -> float | None:
    return None if value is None else float(value)


def _encode(qhat: Any) -> Any:
    if np.ndim(qhat):
        return [_encode(float(threshold)) for threshold in qhat]
    return qhat if math.isfinite(qhat) else str(qhat)


def _decode(qhat: Any) -> float | np.ndarray[Any, Any]:
    if isinstance(qhat, list):
        return np.array([_decode(threshold) for threshold in qhat], dtype=np.float64)
    threshold = float(qhat)
    if math.isnan(threshold):
        raise ValueError("qhat is NaN")
    return threshold
