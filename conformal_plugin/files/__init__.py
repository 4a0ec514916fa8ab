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
from conformal_plugin.files.photos import PHOTO_SUFFIXES, read_photo
from conformal_plugin.files.resize import require_size, resize_map
from conformal_plugin.files.store import MapStore

__all__ = [
    "LABEL_SUFFIXES",
    "MAP_SUFFIXES",
    "PHOTO_SUFFIXES",
    "IdList",
    "LazySequence",
    "MapStore",
    "find_files",
    "ids_in_folder",
    "image_size",
    "label_files",
    "map_files",
    "read_ids",
    "read_label",
    "read_map",
    "read_origin",
    "read_photo",
    "require_size",
    "resize_map",
    "voc_palette",
    "write_label",
]
