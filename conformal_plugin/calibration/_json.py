"""A calibration as a versioned JSON file has it."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from conformal_plugin._choices import OF
from conformal_plugin._json import parsed
from conformal_plugin._messages import shortened, shown
from conformal_plugin._sealed import refuse_changed
from conformal_plugin.calibration._comparison import Comparison
from conformal_plugin.calibration._guarantee import Guarantee
from conformal_plugin.calibration._label_weights import LabelWeights
from conformal_plugin.calibration._quantile import STEPS
from conformal_plugin.calibration._schema import Fields
from conformal_plugin.errors import CalibrationFileError

__all__ = ["MADE_FOR", "READ", "fields_of", "json_of"]

READ = "read"
"""What a command adds to a calibration's file: a digest of what it has read."""
MADE_FOR = "annotator"
"""What a command adds as well: the digest of the maps' annotator."""

_FORMAT = "conformal-plugin calibration"
_VERSION = 1
_OF_THE_FILE = ("format", "version", "num_classes", READ, MADE_FOR)
_CAPPED = 2
"""The version of a calibration that a release which knows no cap must not read past it."""


def json_of(fields: Mapping[str, Any]) -> str:
    """The fields of a calibration as JSON; infinite thresholds are written as strings."""
    content = {
        "format": _FORMAT,
        "version": _version(fields),
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
        **_grouped(fields),
        **({} if fields.get("delta") is None else {"delta": fields["delta"]}),
        **({} if fields["comparison"] is None else {"comparison": vars(fields["comparison"])}),
    }
    if content["version"] == _CAPPED:
        content |= {"cap": fields["cap"], "of": fields["of"]}
    if fields.get("label_weights") is not None:
        weights = fields["label_weights"]
        ladder = [_encode(thresholds) for thresholds in weights.ladder]
        content["label_weights"] = {"ladder": ladder, "means": weights.means.tolist()}
    if fields.get("label_content") is not None:
        content["label_content"] = fields["label_content"]
    if fields.get("label_map") is not None:
        content["label_map"] = fields["label_map"].text
    return json.dumps(content, indent=2, allow_nan=False) + "\n"


def fields_of(text: str, *, file: bool = False) -> dict[str, Any]:
    """The fields of a calibration, by name, that :func:`json_of` wrote.

    Args:
        text: what it wrote, with or without a checksum.
        file: whether it is all that a file holds, which has a checksum since there are such.

    Raises:
        CalibrationFileError: not a calibration, of another version, damaged, or changed since.
    """
    try:
        content = parsed(text)
    except ValueError as error:
        raise CalibrationFileError(
            f"a calibration is a JSON object, and this text is not JSON ({shortened(error)}); "
            f"write it again with Calibration.save or `conformal-plugin calibrate`"
        ) from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise CalibrationFileError(
            f'expected a JSON object with "format": "{_FORMAT}", which this is not; pass a '
            f"file that Calibration.save or `conformal-plugin calibrate` wrote"
        )
    if content.get("version") not in (_VERSION, _CAPPED):
        raise CalibrationFileError(
            f"this calibration is of version {shown(content.get('version'))} and this release "
            f"reads versions {_VERSION} and {_CAPPED}; calibrate again, or install the release "
            f"that wrote it"
        )
    try:
        checked = _checked(Fields(content))
    except (KeyError, ValueError) as error:
        raise CalibrationFileError(
            f"this calibration is damaged ({type(error).__name__}: {error}); calibrate again"
        ) from error
    try:
        known = {*checked, *_OF_THE_FILE} if file else content
        refuse_changed(content, known, "calibrate again")
    except ValueError as error:
        raise CalibrationFileError(f"this calibration has changed: {error}") from error
    return checked


def _checked(content: Fields) -> dict[str, Any]:
    pixels = content.wholes("pixels_per_class")
    classes = len(pixels)
    content.whole("num_classes", classes, low=max(classes, 1), high=classes)
    images = content.wholes("images_per_class")
    if len(images) != classes:
        raise ValueError(
            f"images_per_class has {len(images)} classes and pixels_per_class {classes}"
        )
    guarantee = content.part("guarantee")
    return {
        "qhat": content.thresholds("qhat", classes),
        "alpha": content.share("alpha"),
        "guarantee": Guarantee(
            name=guarantee.text("name"),
            unit=guarantee.text("unit"),
            exact=guarantee.truth("exact"),
            statement=guarantee.text("statement"),
        ),
        "ignore_index": content.whole("ignore_index", low=-(2**63)),
        "n_pixels": content.whole("n_pixels"),
        "n_images": content.whole("n_images"),
        "pixels_per_class": np.array(pixels, dtype=np.int64),
        "images_per_class": np.array(images, dtype=np.int64),
        "resolution": content.real("resolution", 0.0, 1.0),
        "score": content.text("score"),
        # Absent from the first files of this version.
        "n_effective": content.real("n_effective", 0.0, sys.float_info.max, None),
        "n_repeats": content.whole("n_repeats", 0),
        "pooled_classes": tuple(content.wholes("pooled_classes", (), high=classes - 1)),
        "left_out_classes": tuple(content.wholes("left_out_classes", (), high=classes - 1)),
        "rule": content.rule("rule"),
        "background": content.whole("background", None, high=classes - 1),
        "max_pixels": content.whole("max_pixels", None),
        "label_map": content.label_map("label_map"),
        "cap": content.real("cap", 0.0, 1.0, None),
        "of": content.one_of("of", OF, OF[0]),
        **_groups(content, classes),
        "delta": content.share("delta") if "delta" in content else None,
        "comparison": _comparison(content.part("comparison")) if "comparison" in content else None,
        "label_weights": _label_weights(content, classes),
        "label_content": content.whole("label_content", None),
    }


def _label_weights(content: Fields, classes: int) -> LabelWeights | None:
    if "label_weights" not in content:
        return None
    part = content.part("label_weights")
    means = np.array(part.thresholds("means", classes))
    if means.shape != (classes,) or not ((means > 0) & (means <= 1)).all():
        raise ValueError(f"means must be {classes} numbers above 0 and at most 1")
    return LabelWeights(part.table("ladder", STEPS - 1, classes), means)


def _version(fields: Mapping[str, Any]) -> int:
    # Pickles of earlier releases have neither.
    plain = fields.get("cap") is None and fields.get("of", OF[0]) == OF[0]
    return _VERSION if plain else _CAPPED


def _grouped(fields: Mapping[str, Any]) -> dict[str, Any]:
    """What there is to say of groups: nothing where images did not come in any."""
    if fields["n_groups"] is None:
        return {}
    per_class = fields["groups_per_class"]
    return {
        "n_groups": fields["n_groups"],
        "groups_per_class": None if per_class is None else per_class.tolist(),
    }


def _comparison(content: Fields) -> Comparison:
    return Comparison(
        p_value=content.real("p_value", 0.0, 1.0),
        unit=content.text("unit"),
        n_labelled=content.whole("n_labelled", low=1),
        n_unlabelled=content.whole("n_unlabelled", low=1),
        statement=content.text("statement"),
    )


def _groups(content: Fields, classes: int) -> dict[str, Any]:
    count = content.whole("n_groups", None, low=1)
    if count is None:
        return {}
    per_class = content.wholes("groups_per_class")
    if len(per_class) != classes:
        raise ValueError(f"groups_per_class has {len(per_class)} classes, not {classes}")
    return {"n_groups": count, "groups_per_class": np.array(per_class, dtype=np.int64)}


def _encode(qhat: Any) -> Any:
    if np.ndim(qhat):
        return [_encode(float(threshold)) for threshold in qhat]
    return qhat if math.isfinite(qhat) else str(qhat)
