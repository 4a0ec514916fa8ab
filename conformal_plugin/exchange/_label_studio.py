"""Label Studio: tasks in JSON, a brush mask for each label, and the labelling interface."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from xml.sax.saxutils import quoteattr

from conformal_plugin._atomic import atomic_open, atomic_write_text
from conformal_plugin._json import parsed
from conformal_plugin._messages import shortened
from conformal_plugin.errors import SourceFileError
from conformal_plugin.exchange._label_studio_rle import packed, unpacked
from conformal_plugin.exchange._sent import Sent, SentPhoto, Sheet
from conformal_plugin.exchange._vocabulary import Layer, Vocabulary

__all__ = ["read_label_studio", "write_label_studio"]

TASKS: Final = "tasks.json"
INTERFACE: Final = "labelling_interface.xml"
_MODEL: Final = "conformal-plugin"
_NAMES: Final = {"from_name": "label", "to_name": "image"}
_SHAPES: Final = (
    *("rectanglelabels", "polygonlabels", "ellipselabels", "keypointlabels", "bitmasklabels"),
    *("rectangle", "polygon", "ellipse", "keypoint", "brush", "bitmask", "vectorlabels"),
)
_REMEDY: Final = "export the project again as JSON"


def write_label_studio(
    folder: Path, vocabulary: Vocabulary, sheets: Iterable[Sheet], prefix: str = ""
) -> list[Path]:
    """Write ``tasks.json`` to import, and ``labelling_interface.xml`` for the project's settings.

    Labels go in as predictions, of which a person makes an annotation.

    Args:
        folder: where to.
        vocabulary: what masks mean.
        sheets: the photos.
        prefix: what comes before a photo's path in the address that Label Studio loads it from.
    """
    path = folder / TASKS
    with atomic_open(path) as handle:
        handle.write(b"[")
        for number, sheet in enumerate(sheets):
            task = json.dumps(_task(sheet, vocabulary, prefix), separators=(",", ":"))
            handle.write((",\n" if number else "\n").encode() + task.encode())
        handle.write(b"\n]\n")
    interface = folder / INTERFACE
    atomic_write_text(interface, _interface(vocabulary))
    return [path, interface]


def read_label_studio(path: Path, sent: Sent) -> Iterator[tuple[SentPhoto, list[Layer], bool]]:
    """Each photo that somebody has annotated, and its masks from lowest to highest.

    Of several annotations the one changed last counts; skipped and predicted ones do not.

    Args:
        path: the project's export as JSON.
        sent: what was sent.

    Raises:
        SourceFileError: not such a file, a region that is no brush mask, an unknown label or photo,
            or a photo of another size.
    """
    try:
        tasks = parsed(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _error(path, error) from error
    if not isinstance(tasks, list):
        raise _error(path, "it is no list of tasks")
    for task in tasks:
        try:
            photo = sent.named(str(task["data"]["file"]))
            annotations = [
                one for one in task.get("annotations", ()) if not one.get("was_cancelled")
            ]
            annotations.sort(key=lambda one: str(one.get("updated_at", "")))
            regions = annotations[-1]["result"] if annotations else ()
            layers = [_layer(region, photo, sent) for region in regions if _is_mask(region)]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, SourceFileError):
                raise
            raise _error(path, f"a task: {type(error).__name__}: {error}") from error
        if annotations:
            yield photo, layers, True


def _task(sheet: Sheet, vocabulary: Vocabulary, prefix: str) -> dict[str, Any]:
    photo = sheet.photo
    data = {"image": f"{prefix}{photo.file}", "id": photo.name, "file": photo.file}
    if sheet.labels is None:
        return {"data": data}
    result = [
        {
            "id": f"mask{number}",
            "type": "brushlabels",
            **_NAMES,
            "origin": "manual",
            "image_rotation": 0,
            "original_width": photo.width,
            "original_height": photo.height,
            "value": {"format": "rle", "rle": packed(layer.mask), "brushlabels": [layer.label]},
        }
        for number, layer in enumerate(vocabulary.layers(sheet.labels))
    ]
    return {"data": data, "predictions": [{"model_version": _MODEL, "result": result}]}


def _interface(vocabulary: Vocabulary) -> str:
    labels = "".join(
        f'    <Label value={quoteattr(label)} background="#{red:02x}{green:02x}{blue:02x}"/>\n'
        for label, (red, green, blue) in vocabulary.colours().items()
    )
    return (
        f'<View>\n  <Image name="{_NAMES["to_name"]}" value="$image" zoom="true"/>\n'
        f'  <BrushLabels name="{_NAMES["from_name"]}" toName="{_NAMES["to_name"]}">\n'
        f"{labels}  </BrushLabels>\n</View>\n"
    )


def _is_mask(region: Mapping[str, Any]) -> bool:
    """Whether a region is a brush mask; choices and texts are passed over, other shapes refused."""
    kind = region["type"]
    if kind in _SHAPES:
        raise SourceFileError(
            f"an annotation has a region of the type {shortened(kind)}, and brush masks are read "
            f"here; draw it with the brush of the labelling interface that was exported"
        )
    return bool(kind == "brushlabels")


def _layer(region: Mapping[str, Any], photo: SentPhoto, sent: Sent) -> Layer:
    size = int(region["original_height"]), int(region["original_width"])
    labels = region["value"].get("brushlabels") or ["none"]
    known = sent.vocabulary.labels
    if size != photo.size or region.get("image_rotation"):
        raise SourceFileError(
            f"the photo {photo.file} has {photo.width} x {photo.height} pixels in the export, and "
            f"a mask of {size[1]} x {size[0]}, turned by {region.get('image_rotation', 0)} "
            f"degrees, came back; annotate the photo as it was sent"
        )
    if len(labels) != 1 or labels[0] not in known:
        raise SourceFileError(
            f"a mask of {photo.file} has the labels {shortened(labels)}, and it has one of "
            f"{', '.join(known)}; mend it in Label Studio"
        )
    return Layer(labels[0], unpacked(region["value"]["rle"], size))


def _error(path: Path, reason: object) -> SourceFileError:
    return SourceFileError(
        f"cannot read {path} as Label Studio's JSON ({shortened(reason)}); {_REMEDY}"
    )
