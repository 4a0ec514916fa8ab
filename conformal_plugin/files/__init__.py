"""Score maps, label maps and id lists on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformal_plugin._lazy import lazily

if TYPE_CHECKING:
    from conformal_plugin.files._axes import (
        require_axes as require_axes,
        require_classes_first as require_classes_first,
    )
    from conformal_plugin.files._decoding import (
        decoding as decoding,
    )
    from conformal_plugin.files._ids import (
        IdFolder as IdFolder,
        IdList as IdList,
        ListedImage as ListedImage,
        find_files as find_files,
        ids_in_folder as ids_in_folder,
        photos_in_folder as photos_in_folder,
        read_ids as read_ids,
    )
    from conformal_plugin.files._images import (
        LARGEST_IMAGE_PIXELS as LARGEST_IMAGE_PIXELS,
        image_size as image_size,
        images_up_to as images_up_to,
    )
    from conformal_plugin.files._label_map_files import (
        read_label_map as read_label_map,
    )
    from conformal_plugin.files._labels import (
        LABEL_SUFFIXES as LABEL_SUFFIXES,
        LabelReader as LabelReader,
        MadeLabel as MadeLabel,
        brightness_change as brightness_change,
        label_files as label_files,
        label_suffixes as label_suffixes,
        read_label as read_label,
        read_made_label as read_made_label,
        read_origin as read_origin,
        write_label as write_label,
    )
    from conformal_plugin.files._large_maps import (
        open_map as open_map,
    )
    from conformal_plugin.files._lazy import (
        LazySequence as LazySequence,
    )
    from conformal_plugin.files._map_reader import (
        MapReader as MapReader,
        map_files as map_files,
    )
    from conformal_plugin.files._maps import (
        MAP_SUFFIXES as MAP_SUFFIXES,
        ScoreMap as ScoreMap,
        read_map as read_map,
    )
    from conformal_plugin.files._memory import (
        LARGEST_MAP_BYTES as LARGEST_MAP_BYTES,
    )
    from conformal_plugin.files._naming import (
        Naming as Naming,
    )
    from conformal_plugin.files._other_labels import (
        label_size as label_size,
        nifti_of as nifti_of,
        volume_suffix as volume_suffix,
    )
    from conformal_plugin.files._palette import (
        voc_palette as voc_palette,
    )
    from conformal_plugin.files._photos import (
        PHOTO_SUFFIXES as PHOTO_SUFFIXES,
        photo_orientation as photo_orientation,
        photo_size as photo_size,
        photo_suffixes as photo_suffixes,
        read_photo as read_photo,
    )
    from conformal_plugin.files._readers import (
        FileReader as FileReader,
        RegisteredReader as RegisteredReader,
        register_reader as register_reader,
        suffixes as suffixes,
    )
    from conformal_plugin.files._resize import (
        require_size as require_size,
        resize_map as resize_map,
    )
    from conformal_plugin.files._store import (
        STORE_MANIFEST as STORE_MANIFEST,
        MapStore as MapStore,
        StoreEntry as StoreEntry,
        annotator_digest as annotator_digest,
    )
    from conformal_plugin.files._store_codec import (
        rounded as rounded,
    )
    from conformal_plugin.files._taken import (
        FileState as FileState,
        Taken as Taken,
        checksum as checksum,
        take as take,
        unchanged as unchanged,
    )
    from conformal_plugin.files._windowed import (
        Window as Window,
        read_in_window as read_in_window,
    )

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "_axes": (
            "require_axes",
            "require_classes_first",
        ),
        "_decoding": ("decoding",),
        "_ids": (
            "IdFolder",
            "IdList",
            "ListedImage",
            "find_files",
            "ids_in_folder",
            "photos_in_folder",
            "read_ids",
        ),
        "_images": (
            "LARGEST_IMAGE_PIXELS",
            "image_size",
            "images_up_to",
        ),
        "_label_map_files": ("read_label_map",),
        "_labels": (
            "LABEL_SUFFIXES",
            "LabelReader",
            "MadeLabel",
            "brightness_change",
            "label_files",
            "label_suffixes",
            "read_label",
            "read_made_label",
            "read_origin",
            "write_label",
        ),
        "_large_maps": ("open_map",),
        "_lazy": ("LazySequence",),
        "_map_reader": (
            "MapReader",
            "map_files",
        ),
        "_maps": (
            "MAP_SUFFIXES",
            "ScoreMap",
            "read_map",
        ),
        "_memory": ("LARGEST_MAP_BYTES",),
        "_naming": ("Naming",),
        "_palette": ("voc_palette",),
        "_photos": (
            "PHOTO_SUFFIXES",
            "photo_orientation",
            "photo_size",
            "photo_suffixes",
            "read_photo",
        ),
        "_other_labels": (
            "label_size",
            "nifti_of",
            "volume_suffix",
        ),
        "_readers": (
            "FileReader",
            "RegisteredReader",
            "register_reader",
            "suffixes",
        ),
        "_resize": (
            "require_size",
            "resize_map",
        ),
        "_store": (
            "STORE_MANIFEST",
            "MapStore",
            "StoreEntry",
            "annotator_digest",
        ),
        "_store_codec": ("rounded",),
        "_windowed": (
            "Window",
            "read_in_window",
        ),
        "_taken": (
            "FileState",
            "Taken",
            "checksum",
            "take",
            "unchanged",
        ),
    },
)
