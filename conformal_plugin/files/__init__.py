"""Score maps, label maps and id lists on disk."""

from __future__ import annotations

from conformal_plugin.files.ids import IdList, find_files, ids_in_folder, read_ids
from conformal_plugin.files.labels import (
    LABEL_SUFFIXES,
    image_size,
    label_files,
    read_label,
    read_origin,
    write_label,
)
from conformal_plugin.files.lazy import LazySequence
from conformal_plugin.files.maps import MAP_SUFFIXES, map_files, read_map
from conformal_plugin.files.palette import voc_palette
from conformal_plugin.files.resize import require_size, resize_map

__all__ = [
    "LABEL_SUFFIXES",
    "MAP_SUFFIXES",
    "IdList",
    "LazySequence",
    "find_files",
    "ids_in_folder",
    "image_size",
    "label_files",
    "map_files",
    "read_ids",
    "read_label",
    "read_map",
    "read_origin",
    "require_size",
    "resize_map",
    "voc_palette",
    "write_label",
]
