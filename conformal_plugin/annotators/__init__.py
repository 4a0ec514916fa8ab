"""Annotators: from photos to class scores. Each driver is imported when it is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformal_plugin._lazy import lazily

if TYPE_CHECKING:
    from conformal_plugin.annotators._background import (
        BACKGROUND_RULES as BACKGROUND_RULES,
        with_background as with_background,
    )
    from conformal_plugin.annotators._class_files import (
        class_list as class_list,
    )
    from conformal_plugin.annotators._class_list import (
        ClassList as ClassList,
    )
    from conformal_plugin.annotators._class_lists import (
        CLASS_LISTS as CLASS_LISTS,
    )
    from conformal_plugin.annotators._class_mapping import (
        read_synonyms as read_synonyms,
    )
    from conformal_plugin.annotators._function import (
        FunctionAnnotator as FunctionAnnotator,
    )
    from conformal_plugin.annotators._grounded_sam import (
        GroundedSamAnnotator as GroundedSamAnnotator,
        load_grounded_sam as load_grounded_sam,
    )
    from conformal_plugin.annotators._huggingface import (
        TransformersAnnotator as TransformersAnnotator,
        load_transformers as load_transformers,
    )
    from conformal_plugin.annotators._protocol import (
        Annotator as Annotator,
        Photo as Photo,
    )
    from conformal_plugin.annotators._seem import (
        SeemAnnotator as SeemAnnotator,
        load_seem as load_seem,
        load_xdecoder as load_xdecoder,
    )
    from conformal_plugin.annotators._slices import (
        SliceAnnotator as SliceAnnotator,
    )
    from conformal_plugin.annotators._stream import (
        Batch as Batch,
        Result as Result,
        in_batches as in_batches,
        through as through,
    )
    from conformal_plugin.annotators._weights import (
        file_digest as file_digest,
        weights_digest as weights_digest,
    )

__getattr__, __dir__, __all__ = lazily(
    __name__,
    {
        "_background": (
            "BACKGROUND_RULES",
            "with_background",
        ),
        "_class_files": ("class_list",),
        "_class_list": ("ClassList",),
        "_class_lists": ("CLASS_LISTS",),
        "_class_mapping": ("read_synonyms",),
        "_function": ("FunctionAnnotator",),
        "_grounded_sam": (
            "GroundedSamAnnotator",
            "load_grounded_sam",
        ),
        "_huggingface": (
            "TransformersAnnotator",
            "load_transformers",
        ),
        "_protocol": (
            "Annotator",
            "Photo",
        ),
        "_seem": (
            "SeemAnnotator",
            "load_seem",
            "load_xdecoder",
        ),
        "_slices": ("SliceAnnotator",),
        "_stream": (
            "Batch",
            "Result",
            "in_batches",
            "through",
        ),
        "_weights": (
            "file_digest",
            "weights_digest",
        ),
    },
)
